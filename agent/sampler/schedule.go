package sampler

import (
	"time"

	"tidemark/drivers"
)

// schedule says which scan is due next. Polls of one interval fall on the same
// monotonic grid; a bus that cannot keep up skips grid points, it never
// catches up with a burst.
type schedule struct {
	interval []time.Duration
	due      []time.Time
	over     []bool
}

func newSchedule(scans []drivers.ScanSpec, now time.Time) *schedule {
	s := &schedule{over: make([]bool, len(scans))}
	for i := range scans {
		s.interval = append(s.interval, scans[i].Interval)
		s.due = append(s.due, now)
	}
	return s
}

// next returns the scan that is due first.
func (s *schedule) next() (i int, due time.Time, ok bool) {
	for k := range s.due {
		if !s.over[k] && (!ok || s.due[k].Before(due)) {
			i, due, ok = k, s.due[k], true
		}
	}
	return i, due, ok
}

// done moves scan i to its next grid point after now; a self-paced one is due at once.
func (s *schedule) done(i int, now time.Time) {
	step := s.interval[i]
	if step == 0 {
		s.due[i] = now
		return
	}
	s.due[i] = s.due[i].Add(step)
	if behind := now.Sub(s.due[i]); behind > 0 {
		s.due[i] = s.due[i].Add((behind + step - 1) / step * step)
	}
}

// drop takes scan i out: it has come to its end.
func (s *schedule) drop(i int) { s.over[i] = true }
