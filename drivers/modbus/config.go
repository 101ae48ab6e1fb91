package modbus

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aldas/go-modbus-client/packet"

	"tidemark/drivers"
	"tidemark/drivers/modbus/line"
)

// BusConfig is what a profile says about a line.
type BusConfig struct {
	Port     string `yaml:"port"`
	Baud     int    `yaml:"baud"`
	Parity   string `yaml:"parity"`
	DataBits int    `yaml:"data_bits"`
	StopBits int    `yaml:"stop_bits"`

	TCP string `yaml:"tcp"`

	Timeout    time.Duration  `yaml:"timeout"`
	Turnaround *time.Duration `yaml:"turnaround"`
	Retries    int            `yaml:"retries"`
}

func newBus() drivers.Config {
	return &BusConfig{
		Baud: 9600, Parity: "none", DataBits: 8, StopBits: 1,
		Timeout: 300 * time.Millisecond, Retries: 1,
	}
}

// Validate returns every mistake.
func (c *BusConfig) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, drivers.Fieldf(field, format, args...)) }
	switch {
	case c.Port == "" && c.TCP == "":
		bad("port", "is missing: name a serial port here, or a host and port under tcp")
	case c.Port != "" && c.TCP != "":
		bad("tcp", "a bus is either a serial port or a TCP connection: remove port or tcp")
	case c.TCP != "":
		if err := checkTCP(c.TCP); err != nil {
			bad("tcp", "%w", err)
		}
	}
	if c.Baud < 300 || c.Baud > 4_000_000 {
		bad("baud", "%d is not between 300 and 4000000", c.Baud)
	}
	if !slices.Contains([]string{"none", "even", "odd"}, c.Parity) {
		bad("parity", "%q is not none, even or odd", c.Parity)
	}
	if c.DataBits != 8 {
		bad("data_bits", "%d does not work: Modbus RTU needs 8", c.DataBits)
	}
	if c.StopBits != 1 && c.StopBits != 2 {
		bad("stop_bits", "%d is not 1 or 2", c.StopBits)
	}
	if c.Timeout < 5*time.Millisecond || c.Timeout > time.Minute {
		bad("timeout", "%v is not between 5ms and 1m", c.Timeout)
	}
	if c.Turnaround != nil && (*c.Turnaround < 0 || *c.Turnaround > time.Second) {
		bad("turnaround", "%v is not between 0s and 1s", *c.Turnaround)
	}
	if c.Retries < 0 || c.Retries > 10 {
		bad("retries", "%d is not between 0 and 10", c.Retries)
	}
	return errors.Join(errs...)
}

func checkTCP(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return errors.New(strconv.Quote(address) + " is not of the form host:port, like 10.0.0.7:502")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("the port " + strconv.Quote(port) + " is not between 1 and 65535")
	}
	return nil
}

// line returns the configuration as the line takes it.
func (c *BusConfig) line() line.Config {
	return line.Config{
		Port: c.Port, TCP: c.TCP, Baud: c.Baud, StopBits: c.StopBits, Timeout: c.Timeout, Turnaround: c.Turnaround,
		Parity: map[string]line.Parity{"even": line.Even, "odd": line.Odd}[c.Parity],
	}
}

// DeviceConfig is what a profile says about a slave.
type DeviceConfig struct {
	Unit         *int   `yaml:"unit"`
	MaxGap       int    `yaml:"max_gap"`
	MaxRegisters int    `yaml:"max_registers"`
	MaxCoils     int    `yaml:"max_coils"`
	WordOrder    string `yaml:"word_order"`
	ByteOrder    string `yaml:"byte_order"`
}

func newDevice() drivers.Config {
	return &DeviceConfig{
		MaxGap: 8, MaxRegisters: int(packet.MaxRegistersInReadResponse), MaxCoils: int(packet.MaxCoilsInReadResponse),
		WordOrder: big, ByteOrder: big,
	}
}

// Validate returns every mistake.
func (c *DeviceConfig) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, drivers.Fieldf(field, format, args...)) }
	switch {
	case c.Unit == nil:
		bad("unit", "is missing: the slave's address, 1 to 247")
	case *c.Unit < 0 || *c.Unit > 247 && *c.Unit != 255:
		bad("unit", "%d is not a slave's address: 1 to 247, on TCP also 0 and 255", *c.Unit)
	}
	if c.MaxGap < 0 || c.MaxGap > 124 {
		bad("max_gap", "%d is not between 0 and 124", c.MaxGap)
	}
	if c.MaxRegisters < 1 || c.MaxRegisters > int(packet.MaxRegistersInReadResponse) {
		bad("max_registers", "%d is not between 1 and %d", c.MaxRegisters, packet.MaxRegistersInReadResponse)
	}
	if c.MaxCoils < 1 || c.MaxCoils > int(packet.MaxCoilsInReadResponse) {
		bad("max_coils", "%d is not between 1 and %d", c.MaxCoils, packet.MaxCoilsInReadResponse)
	}
	errs = append(errs, checkOrder("word_order", c.WordOrder), checkOrder("byte_order", c.ByteOrder))
	return errors.Join(errs...)
}

const (
	big    = "big"
	little = "little"
)

func checkOrder(field, order string) error {
	if order != big && order != little {
		return drivers.Fieldf(field, "%q is not big or little", order)
	}
	return nil
}

// PointConfig is what a profile says about a point.
type PointConfig struct {
	Coil     *int `yaml:"coil"`
	Discrete *int `yaml:"discrete"`
	Input    *int `yaml:"input"`
	Holding  *int `yaml:"holding"`

	Type      string   `yaml:"type"`
	Bit       *int     `yaml:"bit"`
	Bits      string   `yaml:"bits"`
	WordOrder string   `yaml:"word_order"`
	ByteOrder string   `yaml:"byte_order"`
	Scale     *float64 `yaml:"scale"`
	Offset    *float64 `yaml:"offset"`
	NoValue   *int64   `yaml:"no_value"`
}

func newPoint() drivers.Config { return &PointConfig{} }

// Validate returns every mistake.
func (c *PointConfig) Validate() error {
	_, err := c.compile(&DeviceConfig{WordOrder: big, ByteOrder: big})
	return err
}

// register returns the one kind and address that the point names.
func (c *PointConfig) register() (k line.Kind, address int, field string, err error) {
	var named []string
	for _, r := range []struct {
		kind    line.Kind
		address *int
	}{{line.Coil, c.Coil}, {line.Discrete, c.Discrete}, {line.Input, c.Input}, {line.Holding, c.Holding}} {
		if r.address != nil {
			k, address = r.kind, *r.address
			named = append(named, r.kind.String())
		}
	}
	switch {
	case len(named) == 0:
		return 0, 0, "", drivers.Fieldf("holding", "is missing: say which register by one of coil, discrete, input and holding, like holding: 100")
	case len(named) > 1:
		return 0, 0, "", drivers.Fieldf(named[1], "a point is one register: leave only one of %s", strings.Join(named, ", "))
	case address < 0 || address > 65535:
		return 0, 0, "", drivers.Fieldf(named[0], "address %d is not between 0 and 65535; addresses count from 0, so 40101 in a manual is holding: 100", address)
	}
	return k, address, named[0], nil
}

// bitRange parses "low-high".
func bitRange(s string) (low, high int, err error) {
	a, b, ok := strings.Cut(s, "-")
	low, aerr := strconv.Atoi(strings.TrimSpace(a))
	high, berr := strconv.Atoi(strings.TrimSpace(b))
	if !ok || aerr != nil || berr != nil || low > high {
		return 0, 0, errors.New(strconv.Quote(s) + " is not of the form low-high, like 4-7")
	}
	return low, high, nil
}
