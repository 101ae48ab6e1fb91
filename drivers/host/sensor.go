package host

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"tidemark/drivers"
)

// Sensor is the gateway as a bus.
type Sensor struct {
	specs  []drivers.ScanSpec
	polls  []*poll
	system system
	closed atomic.Bool
}

// poll is the state of one device between two polls.
type poll struct {
	points []*Point
	cpu    cpuMeter
}

// cpuMeter makes shares of counted ticks.
type cpuMeter struct {
	busy, total float64
	share       float64
	any         bool // there is a share since an earlier poll
}

// update takes what the system has counted since boot. Between two ticks the
// last share still holds.
func (m *cpuMeter) update(busy, total float64) (share float64, sinceBoot bool) {
	if m.total == 0 {
		m.busy, m.total = busy, total
		return pct(busy, total), true
	}
	if d := total - m.total; d > 0 {
		// The idle time of a processor may be corrected downwards.
		m.share, m.any = pct(min(max(busy-m.busy, 0), d), d), true
		m.busy, m.total = busy, total
	}
	if !m.any {
		return pct(busy, total), true
	}
	return m.share, false
}

// Scans returns one poll for each device.
func (s *Sensor) Scans() []drivers.ScanSpec { return s.specs }

// Close ends the sensor.
func (s *Sensor) Close() error {
	s.closed.Store(true)
	return nil
}

// Read reads the metrics of one device.
func (s *Sensor) Read(ctx context.Context, i int, sc *drivers.Scan) error {
	if i < 0 || i >= len(s.polls) {
		return fmt.Errorf("host: there is no poll %d", i)
	}
	s.system.begin()
	sc.Times[0] = time.Now()
	p := s.polls[i]
	for k, point := range p.points {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.closed.Load() {
			return ErrClosed
		}
		v, err := s.system.read(point, &p.cpu)
		switch {
		case err == nil:
			sc.Set(k, v)
		case errors.Is(err, errSinceBoot):
			sc.Readings[k] = drivers.Reading{Value: v, Quality: drivers.Uncertain, Reason: ReasonSinceBoot}
		default:
			sc.Fail(k, reasonOf(err))
		}
	}
	return nil
}
