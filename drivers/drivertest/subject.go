package drivertest

import (
	"testing"
	"time"

	"tidemark/drivers"
)

// Subject is a driver under test.
type Subject struct {
	Driver drivers.Driver

	// Start makes something for the driver to read, which answers from now on,
	// and ends it with t.Cleanup. It is called for each part of the suite.
	Start func(t *testing.T) Rig

	// Missing returns a bus whose hardware is not there. Nil if the driver
	// reads something that can't be missing.
	Missing func(t *testing.T) drivers.BusSpec

	// Mistakes are texts that a person could write into a profile, and that
	// the driver must refuse. There must be one for each level with keys.
	Mistakes []Mistake
}

// Rig is something that a driver reads, for the time of one test.
type Rig struct {
	Bus drivers.BusSpec

	// Want holds values that good readings must have, by "device.point".
	Want map[string]drivers.Value

	// Break takes the hardware away; Stall leaves it there but silent; Restore
	// undoes both. Each returns when it has happened. Break and Stall may be
	// nil where there is no such state. Stall makes a Read of the first scan
	// wait for more than 50 ms.
	Break, Stall, Restore func()

	// Within is how long it may take at most until readings are good, or good
	// again. Zero means 15 s.
	Within time.Duration
}

// Mistake is a part of a profile with mistakes in it.
type Mistake struct {
	Level  Level
	YAML   string   // the driver's own keys at that level
	Fields []string // the keys that Validate must name
}

// Level is a place in a profile where a driver has keys.
type Level string

// The levels.
const (
	Bus    Level = "bus"
	Device Level = "device"
	Point  Level = "point"
)

// soon is what "soon after" means to the suite: far above what a driver needs,
// and below what a person takes for a hang.
const soon = 2 * time.Second

// waits is how long a Read of silent hardware is left alone before it is
// interrupted: long enough for it to have asked.
const waits = 50 * time.Millisecond

// Run holds the driver to the contract.
func Run(t *testing.T, s Subject) {
	t.Run("describes itself", s.describe)
	t.Run("refuses mistakes", s.refuse)
	t.Run("scans are fixed", s.scans)
	t.Run("reads", s.reads)
	t.Run("cancelled before", s.cancelledBefore)
	t.Run("closed unused", s.closedUnused)
	if s.Missing != nil {
		t.Run("missing hardware", s.missing)
	}
	t.Run("cancelled within", s.cancelledWithin)
	t.Run("deadline within", s.deadlineWithin)
	t.Run("closed within", s.closedWithin)
	t.Run("recovers from silence", s.recovers(func(r Rig) func() { return r.Stall }))
	t.Run("recovers from loss", s.recovers(func(r Rig) func() { return r.Break }))
}
