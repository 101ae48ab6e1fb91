package data

import (
	"context"
	"time"

	"tidemark/cloud/data/chunk"
	"tidemark/cloud/stream"
	"tidemark/protocol"
)

// etl applies every entry to the head and has it flushed. Until position wait
// it does not flush, so that no file is ahead of what is served.
func (s *Service) etl(ctx context.Context, in <-chan *stream.Entry, wait uint64) error {
	defer close(s.flushes)
	tick := time.NewTicker(max(s.cfg.FlushInterval/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case e, ok := <-in:
			if !ok {
				s.lastFlush(wait)
				return nil
			}
			if err := s.apply(ctx, e); err != nil {
				return nil // ctx is done; the entry is read again at the next start
			}
		case <-tick.C:
		case _, ok := <-s.finished:
			if !ok {
				return nil // the flusher gave up, and says why
			}
			s.finish()
		}
		if err := s.considerFlush(ctx, wait); err != nil {
			return nil
		}
	}
}

// considerFlush hands the head to the flusher when it is due. Only a head that
// is full waits for the flush before.
func (s *Service) considerFlush(ctx context.Context, wait uint64) error {
	b := &s.head
	if b.last == 0 || b.last < wait {
		return nil
	}
	full := b.readings >= s.cfg.FlushReadings
	age := time.Since(b.since)
	if b.last >= wait && s.flushed < wait {
		full = true // queries wait for it
	}
	due := age >= s.cfg.FlushInterval && (len(b.touched) < busySeries || age >= 10*s.cfg.FlushInterval)
	if !full && !due {
		return nil
	}
	if s.flushing != nil {
		if !full {
			return nil
		}
		if err := s.awaitFlush(ctx); err != nil {
			return err
		}
	}
	s.beginFlush()
	return nil
}

// busySeries is how many series a flush of a single interval may touch: each
// costs a row, so that more wait for longer chunks.
const busySeries = 5000

func (s *Service) beginFlush() {
	s.mu.Lock()
	b := s.head
	for _, ser := range b.touched {
		ser.flushing, ser.head = ser.head, nil
	}
	s.flushing, s.head = &b, batch{}
	s.mu.Unlock()
	s.flushes <- &b
}

// awaitFlush waits for the flush under way, if there is one.
func (s *Service) awaitFlush(ctx context.Context) error {
	if s.flushing == nil {
		return nil
	}
	select {
	case _, ok := <-s.finished:
		if !ok {
			return errFlusher
		}
		s.finish()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lastFlush writes the head when the service stops. Should that fail, the
// stream gives it again.
func (s *Service) lastFlush(wait uint64) {
	if s.flushing != nil {
		if _, ok := <-s.finished; !ok {
			return
		}
		s.finish()
	}
	if s.head.last > 0 && s.head.last >= wait {
		s.beginFlush()
		if _, ok := <-s.finished; ok {
			s.finish()
		}
	}
}

// item is one message of an entry, decoded.
type item struct {
	msg       *protocol.Message
	telemetry *protocol.Telemetry
	routes    []route // of telemetry
	clock     *protocol.Clock
	waiting   []waiting // stored readings that wait for clock
}

func (s *Service) apply(ctx context.Context, e *stream.Entry) error {
	items, err := s.decode(ctx, e)
	if err != nil {
		return err
	}
	if e.Missed > 0 {
		s.metrics.missed.Add(float64(e.Missed))
		s.cfg.Log.Error("the stream no longer holds bundles that were not stored; raise its age or size", "sequence", e.Sequence, "missed", e.Missed)
	}
	g := s.catalog.gateway(e.Gateway)
	placed := map[uint64]bool{}
	for i := range items {
		it := &items[i]
		if it.telemetry != nil {
			it.routes = s.catalog.routesOf(g, it.telemetry.Schema)
		}
		if it.clock != nil && !placed[it.clock.Boot] {
			placed[it.clock.Boot] = true
			if it.waiting, err = s.unplacedBlocks(ctx, g, it.clock.Boot); err != nil {
				return err
			}
		}
	}
	s.mu.Lock() // once, so that an answer holds all of an entry or nothing
	before := s.head.readings
	for i := range items {
		if it := &items[i]; it.telemetry != nil {
			s.place(g, it, e)
		}
	}
	added := s.head.readings - before
	for i := range items {
		if it := &items[i]; it.clock != nil {
			s.placeBoot(g, it, e)
		}
	}
	if s.head.last == 0 {
		s.head.since = time.Now()
	}
	s.head.last, s.head.asOfUs = e.Sequence, e.CommittedUs
	s.applied, s.asOfUs, s.pending = e.Sequence, e.CommittedUs, e.Pending
	s.mu.Unlock()
	s.metrics.readings.Add(float64(added))
	s.publishLive(e.Gateway, items)
	return nil
}

func (s *Service) decode(ctx context.Context, e *stream.Entry) ([]item, error) {
	items := make([]item, 0, len(e.Messages))
	lookup := s.reader.Lookup(ctx)
	for _, m := range e.Messages {
		it := item{msg: m}
		var err error
		switch m.Type {
		case protocol.TypeTelemetry:
			it.telemetry, err = m.Telemetry(lookup)
		case protocol.TypeClock:
			it.clock = &protocol.Clock{}
			if err = protocol.Unmarshal(m.Body, it.clock); err == nil && it.clock.Quality == protocol.ClockUnknown {
				continue // it tells nothing
			}
		default:
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			s.metrics.refused.Inc()
			s.cfg.Log.Error("a committed message does not decode; it is passed over", "site", e.Gateway.Site, "gateway", e.Gateway.Name,
				"sequence", e.Sequence, "seq", m.Seq, "err", err)
			continue
		}
		items = append(items, it)
	}
	return items, nil
}

// place appends the readings of a message to the head. The caller holds mu.
func (s *Service) place(g *gateway, it *item, e *stream.Entry) {
	m, t := it.msg, it.telemetry
	from := origin{position: e.Sequence, committedMs: e.CommittedUs / 1000}
	if m.Clock != protocol.ClockUnknown || m.Boot == 0 {
		s.appendScans(it.routes, t, chunk.Span{Count: t.Scans}, 0, from)
		return
	}
	first := 0
	for _, p := range partsOf(m, t.Scans) {
		span := chunk.Span{First: first, Count: p.Scans, Aux: int64(p.Mono) - p.Time}
		boot := m.Boot
		if c, ok := g.clocks[m.Boot]; ok {
			span.Shift = c.utc - int64(c.mono) + span.Aux
			span.Aux, boot = -span.Shift, 0
		}
		s.appendScans(it.routes, t, span, boot, from)
		first += p.Scans
	}
}
