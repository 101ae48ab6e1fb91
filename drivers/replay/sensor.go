package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"tidemark/drivers"
)

// Sensor is one recording that is being replayed.
type Sensor struct {
	spec  drivers.ScanSpec
	lines lines
	rows  rows
	kinds []kind
	texts []string // each point's last text
	stats Stats

	factor  float64 // recorded seconds in one second; 0 for as fast as possible
	loop    bool
	pace    pace
	pass    pass
	held    *drivers.Scan // what a poll had read when it was cancelled or failed
	retryAt time.Time     // no poll before
	ended   bool          // all rows are told

	once sync.Once
	done chan struct{}
}

// Scans returns the one poll: a sweep over all points.
func (s *Sensor) Scans() []drivers.ScanSpec { return []drivers.ScanSpec{s.spec} }

// Close ends the replay.
func (s *Sensor) Close() error {
	s.once.Do(func() { close(s.done) })
	return s.lines.close()
}

// Read fills sc with the next sweep, when it is due. A poll that is cancelled
// or fails loses no row: the next one begins with what this one had read.
func (s *Sensor) Read(ctx context.Context, i int, sc *drivers.Scan) error {
	if err := s.ready(ctx, i); err != nil {
		return err
	}
	if s.held != nil {
		copy(sc.Times, s.held.Times)
		copy(sc.Readings, s.held.Readings)
		s.held = nil
	} else if err := s.sweep(ctx, sc); err != nil {
		var re *drivers.ReadError
		if errors.As(err, &re) {
			s.retryAt = time.Now().Add(retryAfter)
		}
		return err
	}
	if s.factor == 0 {
		return nil
	}
	first, last := bounds(sc)
	if err := s.pace.until(ctx, s.done, first, last, s.factor, !s.spec.Recorded); err != nil {
		s.hold(sc)
		return err
	}
	if !s.spec.Recorded {
		s.pace.restamp(sc, last, s.factor)
	}
	return nil
}

// ready returns nil once a sweep may be read.
func (s *Sensor) ready(ctx context.Context, i int) error {
	if i != 0 {
		return fmt.Errorf("replay: there is no poll %d", i)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.done:
		return ErrClosed
	default:
	}
	if s.ended {
		return io.EOF
	}
	if s.retryAt.IsZero() {
		return nil
	}
	if err := s.pace.sleep(ctx, s.done, time.Until(s.retryAt)); err != nil {
		return err
	}
	s.retryAt = time.Time{}
	return nil
}

// hold keeps sc for the next poll, and clears it.
func (s *Sensor) hold(sc *drivers.Scan) {
	s.held = &drivers.Scan{Times: slices.Clone(sc.Times), Readings: slices.Clone(sc.Readings)}
	clear(sc.Times)
	clear(sc.Readings)
}

// bounds returns the first and last time of what was read.
func bounds(sc *drivers.Scan) (first, last time.Time) {
	for i, t := range sc.Times {
		if sc.Readings[i].Quality == drivers.NotRead {
			continue
		}
		if first.IsZero() || t.Before(first) {
			first = t
		}
		if last.IsZero() || t.After(last) {
			last = t
		}
	}
	return first, last
}
