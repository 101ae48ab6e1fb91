package sampler

import (
	"context"
	"errors"
	"time"

	"tidemark/drivers"
	"tidemark/protocol"
)

// grace is how long messages may still be appended once ctx is done.
const grace = 2 * time.Second

// gather collects scans into messages until end is closed, and then takes what
// is left in full. The outbox takes what was read before ctx was done for a
// moment longer.
func (b *Bus) gather(ctx context.Context, full <-chan filled, free chan<- *drivers.Scan, end <-chan struct{}) error {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()
	batches := make([]*batch, len(b.scans))
	for i := range batches {
		batches[i] = newBatch(b, i)
	}
	tick := time.NewTicker(b.cfg.Every)
	defer tick.Stop()
	take := func(f filled) error {
		b.taps.offer(&b.scans[f.index], f.scan)
		if err := batches[f.index].add(late, f.scan); err != nil {
			return err
		}
		select {
		case free <- f.scan:
		default:
		}
		return nil
	}
	for {
		var err error
		select {
		case f := <-full:
			err = take(f)
		case <-tick.C:
			err = flushAll(late, batches)
		case <-end:
			for err == nil && len(full) > 0 { // who fills it is done, or left behind
				err = take(<-full)
			}
			return errors.Join(err, flushAll(late, batches))
		}
		if err != nil {
			return err
		}
	}
}

// flushAll appends what every batch has, and returns the first error.
func flushAll(ctx context.Context, batches []*batch) (first error) {
	for _, t := range batches {
		if err := t.flush(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// batch is the scans of one kind since the last message.
type batch struct {
	bus     *Bus
	index   int
	spec    *drivers.ScanSpec
	points  []pointState
	builder *protocol.Builder

	// The wall and monotonic time at which the message began: reading times
	// are counted from here by monotonic time.
	wall  int64
	began time.Time
	told  bool // a message was appended in this run

	times    []int64
	readings []protocol.Reading
}

func newBatch(b *Bus, i int) *batch {
	t := &batch{bus: b, index: i, spec: &b.scans[i], points: make([]pointState, len(b.scans[i].Points))}
	for p := range t.points {
		s := b.spec.Settings(t.spec.Points[p])
		t.points[p] = pointState{deadband: s.Deadband, maxSilence: s.MaxSilence}
	}
	t.times = make([]int64, len(t.spec.Groups))
	t.readings = make([]protocol.Reading, len(t.spec.Points))
	return t
}

// add takes a scan, and appends a message first if that is full. Its error is
// the queue's; a scan that no message can carry is told and left out.
func (t *batch) add(ctx context.Context, s *drivers.Scan) error {
	t.bus.status.saw(t.index, s)
	some := false
	group, left := 0, t.spec.Groups[0]
	for p := range t.readings {
		for left == 0 {
			group++
			left = t.spec.Groups[group]
		}
		left--
		t.readings[p] = t.points[p].report(&s.Readings[p], s.Times[group])
		some = some || t.readings[p].Quality != protocol.NotRead
	}
	if !some {
		return nil
	}
	if t.builder == nil {
		if err := t.open(); err != nil {
			t.bus.status.leftOut(t.index, err, t.bus.cfg.Log)
			return nil
		}
	}
	if t.builder.Full() {
		if err := t.flush(ctx); err != nil {
			return err
		}
	}
	err := t.put(s)
	if errors.Is(err, protocol.ErrFull) {
		if err := t.flush(ctx); err != nil {
			return err
		}
		err = t.put(s)
	}
	if err != nil {
		t.bus.status.leftOut(t.index, err, t.bus.cfg.Log)
		return nil
	}
	if t.told {
		return nil
	}
	t.told = true // the first reading does not wait for the next tick: somebody may be watching for it
	return t.flush(ctx)
}

// put adds a scan to the message that is being built.
func (t *batch) put(s *drivers.Scan) error {
	if t.builder.Scans() == 0 {
		t.began = time.Now()
		t.wall = t.began.UnixMilli()
	}
	for g, at := range s.Times {
		t.times[g] = t.millis(at)
	}
	return t.builder.Add(t.times, t.readings)
}

// millis places a reading's time on the message's wall clock.
func (t *batch) millis(at time.Time) int64 {
	if t.spec.Recorded {
		return at.UnixMilli()
	}
	return t.wall + int64(at.Sub(t.began)/time.Millisecond)
}

// open makes the schema, with the first scan's raw integers as bases, so that
// a message of a single scan is short too.
func (t *batch) open() error {
	points := make([]protocol.Point, len(t.spec.Points))
	for i, p := range t.spec.Points {
		points[i] = protocol.Point{Name: p.Device + "." + p.Name, Unit: p.Unit, Kind: kindOf(p.Type), Scale: protocol.Scale(p.Scale)}
		r := t.readings[i]
		if r.Quality >= protocol.Bad {
			continue
		}
		switch points[i].Kind {
		case protocol.Int:
			points[i].Base = r.Value.Int()
		case protocol.Float:
			points[i].Base, _ = points[i].Scale.Raw(r.Value.Float()) // none: 0
		}
	}
	schema, err := protocol.NewSchema(points, t.spec.Groups)
	if err != nil {
		return err
	}
	t.builder = protocol.NewBuilder(schema)
	return nil
}

// flush appends what was gathered as a message.
func (t *batch) flush(ctx context.Context) error {
	if t.builder == nil || t.builder.Scans() == 0 {
		return nil
	}
	m := &protocol.Message{Type: protocol.TypeTelemetry}
	t.bus.cfg.Clock.Stamp(m)
	if t.spec.Recorded {
		m.Clock = protocol.ClockRecorded
	} else {
		m.Time = t.wall + int64(time.Since(t.began)/time.Millisecond)
	}
	var err error
	if m.Body, err = t.builder.Body(m.Time); err != nil {
		return err
	}
	if err := t.bus.cfg.Queue.Append(ctx, m, t.builder.Schema(), false); err != nil {
		return err
	}
	t.builder.Reset()
	return nil
}
