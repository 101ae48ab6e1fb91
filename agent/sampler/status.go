package sampler

import (
	"log/slog"
	"sync"
	"time"

	"tidemark/drivers"
	"tidemark/protocol"
)

// status is the health and freshness of a bus. Its methods are safe for
// concurrent use.
type status struct {
	mu       sync.Mutex
	bus      protocol.BusState
	scans    []drivers.ScanSpec
	lastGood [][]time.Time // by scan and point
	downFor  []string      // by scan: the reason why its polls fail, empty if they do not
	unfit    []bool        // by scan: one was left out since no message can carry it
}

func (s *status) init(bus, driver string, scans []drivers.ScanSpec) {
	s.bus = protocol.BusState{Bus: bus, Driver: driver}
	s.scans = scans
	s.downFor, s.unfit = make([]string, len(scans)), make([]bool, len(scans))
	for i := range scans {
		s.lastGood = append(s.lastGood, make([]time.Time, len(scans[i].Points)))
		s.bus.Points += uint64(len(scans[i].Points))
	}
}

func (s *status) saw(i int, scan *drivers.Scan) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range scan.Readings {
		switch r := &scan.Readings[p]; r.Quality {
		case drivers.Good, drivers.Uncertain:
			s.bus.Good++
			s.lastGood[i][p] = now
		case drivers.Bad:
			s.bus.Bad++
			s.bus.Reason = r.Reason
		}
	}
}

func (s *status) late(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bus.LateMax = max(s.bus.LateMax, uint64(max(d, 0).Milliseconds()))
}

// failed logs when the reason why the polls of scan i fail changes, not each poll.
func (s *status) failed(i int, err error, log *slog.Logger) {
	reason := drivers.ReasonOf(err)
	s.mu.Lock()
	changed := s.downFor[i] != reason
	s.downFor[i] = reason
	s.bus.Reason = reason
	s.mu.Unlock()
	if changed {
		log.Warn("a poll failed", "device", s.scans[i].Device, "reason", reason, "err", err)
	}
}

// failing returns the reason why the polls of scan i fail, empty if they do not.
func (s *status) failing(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.downFor[i]
}

// leftOut logs the first scan of a kind that no message can carry.
func (s *status) leftOut(i int, err error, log *slog.Logger) {
	s.mu.Lock()
	first := !s.unfit[i]
	s.unfit[i] = true
	s.bus.Reason = drivers.ReasonFailed
	s.mu.Unlock()
	if first {
		log.Error("a scan fits no message; it and others like it are left out", "device", s.scans[i].Device, "err", err)
	}
}

// works notes that scan i was read.
func (s *status) works(i int, log *slog.Logger) {
	s.mu.Lock()
	reason := s.downFor[i]
	s.downFor[i] = ""
	s.mu.Unlock()
	if reason != "" {
		log.Info("polls succeed again", "device", s.scans[i].Device, "reason", reason)
	}
}

// freshWithin is how old the newest good reading of a fresh point may be, in
// intervals; a self-paced point counts with one second.
const freshWithin = 3

// State returns the bus's health, and starts its counts anew if reset is set.
func (b *Bus) State(reset bool) protocol.BusState {
	s := &b.status
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.bus
	for i := range s.scans {
		limit := freshWithin * max(s.scans[i].Interval, time.Second)
		for _, at := range s.lastGood[i] {
			if !at.IsZero() && now.Sub(at) <= limit {
				out.Fresh++
			}
		}
	}
	if reset {
		s.bus.Good, s.bus.Bad, s.bus.LateMax, s.bus.Reason = 0, 0, 0, ""
	}
	return out
}

// Observation is one scan as a tap sees it.
type Observation struct {
	Bus  string
	Spec *drivers.ScanSpec
	Scan drivers.Scan
}

// taps are those who watch live readings.
type taps struct {
	mu   sync.Mutex
	subs map[chan<- Observation]string
}

// Tap sends a copy of every scan to ch until the returned function is called.
// A watcher that does not keep up misses scans; sampling never waits for it.
func (b *Bus) Tap(ch chan<- Observation) (stop func()) {
	b.taps.mu.Lock()
	defer b.taps.mu.Unlock()
	if b.taps.subs == nil {
		b.taps.subs = map[chan<- Observation]string{}
	}
	b.taps.subs[ch] = b.spec.Name
	return func() {
		b.taps.mu.Lock()
		defer b.taps.mu.Unlock()
		delete(b.taps.subs, ch)
	}
}

func (t *taps) offer(spec *drivers.ScanSpec, s *drivers.Scan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ch, bus := range t.subs {
		o := Observation{Bus: bus, Spec: spec}
		o.Scan.Times = append(o.Scan.Times, s.Times...)
		o.Scan.Readings = append(o.Scan.Readings, s.Readings...)
		select {
		case ch <- o:
		default:
		}
	}
}
