//go:build linux

package peer

import (
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// sweep is the number of readings that one poll of the data set gives.
const sweep = 100

// Config says what to measure.
type Config struct {
	Dir      string        // scratch folder; it must exist
	Seed     uint64        // of the data set
	Readings int           // of the throughput run: a multiple of 100, at least 100
	Backlog  int           // readings taken while the link is cut: a multiple of 100; 0 leaves the outage out
	Live     int           // messages of each live run, 0 leaves them out
	Pace     time.Duration // between live messages: above 0.2 s the kernel acknowledges each on its own, as at 1 s and 10 s

	// SaveOnChange makes the edge broker write its state to disk with every change, the nearest that Mosquitto has to storing
	// before promising. It writes all of its queue each time, so with a backlog it takes hours: leave Backlog at 0.
	SaveOnChange bool
}

// Default is the run that `make bench` shows: about half a minute.
func Default(dir string, seed uint64) Config {
	return Config{Dir: dir, Seed: seed, Readings: 1_000_000, Backlog: 1_000_000, Live: 20, Pace: 300 * time.Millisecond}
}

// Durable is the throughput run with SaveOnChange.
func Durable(dir string, seed uint64) Config {
	return Config{Dir: dir, Seed: seed, Readings: 1_000_000, SaveOnChange: true}
}

// window is what each client and the bridge may have unacknowledged. With SaveOnChange it is Mosquitto's default: a wider one
// only makes the queue longer that each save writes again.
func (c Config) window() int {
	if c.SaveOnChange {
		return 20
	}
	return 1000
}

// Validate names every mistake in c, and a broker that is not installed.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("peer: Dir is empty: name a scratch folder"))
	}
	if c.Readings < sweep || c.Readings%sweep != 0 {
		errs = append(errs, fmt.Errorf("peer: Readings is %d: it must be a multiple of %d", c.Readings, sweep))
	}
	if c.Backlog < 0 || c.Backlog%sweep != 0 {
		errs = append(errs, fmt.Errorf("peer: Backlog is %d: it must be 0 or a multiple of %d", c.Backlog, sweep))
	}
	if c.Live < 0 || (c.Live > 0 && c.Pace <= 0) {
		errs = append(errs, fmt.Errorf("peer: Live is %d with a Pace of %v: both must be positive, or Live 0", c.Live, c.Pace))
	}
	if c.SaveOnChange && c.Backlog > 0 {
		errs = append(errs, errors.New("peer: SaveOnChange with a Backlog would take hours: measure them apart"))
	}
	if _, err := mosquitto(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// mosquitto finds the broker; Debian keeps it out of a user's PATH.
func mosquitto() (string, error) {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("peer: mosquitto is not installed: run test/setup.sh")
}

// Result is what was measured. A figure whose run was left out is 0.
type Result struct {
	E2EReadingsPerS float64 // throughput: first publish at the edge to last arrival behind the hub
	CPUSPerMillion  float64 // throughput: user and system of the edge broker, for a million readings
	FlashBytes      float64 // throughput: written to storage by the edge broker, per reading

	IPBytesLive1s  float64 // bridge, payload both ways and 52 B a segment, per reading: a message a second with 100 readings
	IPBytesLive10s float64 // the same with 1000 readings in a message, every 10 s
	IPBytesBacklog float64 // the same while the backlog drains

	ResumeS float64 // outage: link back to first arrival
	DrainS  float64 // outage: link back to last arrival

	RSSMiB        float64 // edge broker after the live runs, 0 without them
	RSSBacklogMiB float64 // edge broker with the backlog

	Sent, Lost, Duplicated int // readings, over all runs
}
