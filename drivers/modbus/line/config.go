package line

import "time"

// Config says where a line is and how to speak on it.
type Config struct {
	// Port is a serial port, or TCP the host:port of a slave or gateway. One of
	// them is set.
	Port string
	TCP  string

	Baud     int // 300 to 4000000
	Parity   Parity
	StopBits int // 1 or 2

	// Timeout is how long a slave may take to begin its answer.
	Timeout time.Duration
	// Turnaround is the silence before a request. Nil means 3.5 characters on a
	// serial line and none on TCP.
	Turnaround *time.Duration
}

// Parity is the parity of a serial line's characters.
type Parity uint8

// The parities.
const (
	None Parity = iota
	Even
	Odd
)

// silence is how long the line is to be quiet before a request (MODBUS over
// Serial Line V1.02, 2.5.1.1: 3.5 characters, but 1.75 ms above 19200 baud).
func (c Config) silence() time.Duration {
	switch {
	case c.Turnaround != nil:
		return *c.Turnaround
	case c.TCP != "":
		return 0
	case c.Baud > 19200:
		return 1750 * time.Microsecond
	}
	return c.character() * 7 / 2
}

// character is how long one takes: 11 bits, whatever the settings.
func (c Config) character() time.Duration { return 11 * time.Second / time.Duration(c.Baud) }
