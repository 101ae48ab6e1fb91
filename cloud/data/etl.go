package data

import (
	"context"
	"errors"
	"slices"
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

func partsOf(m *protocol.Message, scans int) []protocol.Part {
	if len(m.Parts) > 0 {
		return m.Parts
	}
	return []protocol.Part{{Seq: m.Seq, Time: m.Time, Mono: m.Mono, Scans: scans}}
}

func (s *Service) appendScans(routes []route, t *protocol.Telemetry, span chunk.Span, boot uint64, from origin) {
	for i := range t.Columns {
		span.Group = routes[i].group
		col := &t.Columns[i]
		first, end := span.First, span.First+span.Count
		for _, m := range col.Marks {
			if m.Quality != protocol.NotRead || m.First+m.Count <= first || m.First >= end {
				continue
			}
			s.appendSpan(routes[i].series, t, col, spanOf(span, first, m.First), boot, from)
			first = m.First + m.Count
		}
		s.appendSpan(routes[i].series, t, col, spanOf(span, first, end), boot, from)
	}
}

func spanOf(s chunk.Span, first, end int) chunk.Span {
	s.First, s.Count = first, end-first
	return s
}

func (s *Service) appendSpan(ser *series, t *protocol.Telemetry, col *protocol.Column, span chunk.Span, boot uint64, from origin) {
	for span.Count > 0 {
		part := span
		part.Count = min(span.Count, chunk.MaxReadings)
		var b *headBlock
		if k := len(ser.head); k > 0 {
			b = ser.head[k-1]
			if room := chunk.MaxReadings - b.Len(); room > 0 && room < part.Count {
				part.Count = room
			}
		}
		if b == nil || b.boot != boot || !b.Takes(col, part.Count) {
			b = s.newBlock(ser)
			b.boot = boot
		}
		at := b.Len()
		if k := len(b.origin); k == 0 || b.origin[k-1].position != from.position {
			from.at = at
			b.origin = append(b.origin, from)
		}
		b.Append(t, col, part)
		s.head.readings += part.Count
		if boot == 0 && ser.newest != nil {
			ser.newest.see(&b.Block, at)
		}
		span.First, span.Count = span.First+part.Count, span.Count-part.Count
	}
}

// newBlock opens a block at the end of a series' head.
func (s *Service) newBlock(ser *series) *headBlock {
	if len(ser.head) == 0 {
		s.head.touched = append(s.head.touched, ser)
	}
	var b *headBlock
	if k := len(s.free); k > 0 {
		b, s.free = s.free[k-1], s.free[:k-1]
		s.freeSize -= cap(b.Times)
	} else {
		b = &headBlock{}
	}
	ser.head = append(ser.head, b)
	return b
}

// see takes the newest of the readings from index at.
func (n *newest) see(b *chunk.Block, at int) {
	best := -1
	for i, t := range b.Times[at:] {
		if t >= n.time {
			n.time, best = t, at+i
		}
	}
	if best >= 0 {
		n.raw = n.time
		if len(b.Aux) > 0 {
			n.raw += b.Aux[best]
		}
		n.reading = b.Reading(best)
	}
}

// placeBoot learns what a boot's monotonic time is, and moves the readings of
// that boot that wait for it, from the head and from the unplaced ones. The
// caller holds mu.
func (s *Service) placeBoot(g *gateway, it *item, e *stream.Entry) {
	c := it.clock
	k := clock{c.Mono, c.UTC}
	g.clocks[c.Boot] = k
	key := bootKey{g.id, c.Boot}
	if s.head.clocks == nil {
		s.head.clocks = map[bootKey]clock{}
	}
	s.head.clocks[key] = k
	from := origin{position: e.Sequence, committedMs: e.CommittedUs / 1000}
	for _, w := range it.waiting {
		s.addPlaced(w.series, w.block, k, from)
	}
	s.forgetUnplaced(it.waiting)
	any := len(it.waiting) > 0
	for _, ser := range g.series {
		blocks := ser.head
		if !slices.ContainsFunc(blocks, func(b *headBlock) bool { return b.boot == c.Boot && b.boot != 0 }) {
			continue
		}
		ser.head = nil
		s.head.touched = slices.DeleteFunc(s.head.touched, func(o *series) bool { return o == ser })
		for _, b := range blocks {
			if b.boot != c.Boot {
				s.keepBlock(ser, b)
				continue
			}
			s.head.readings -= b.Len()
			s.addPlaced(ser, b.Block, k, from)
			any = true // after a crash, the file can hold what is in the head again
		}
	}
	if any {
		s.moved[key] = true
		s.head.moved = append(s.head.moved, key)
	}
}

func (s *Service) keepBlock(ser *series, b *headBlock) {
	if len(ser.head) == 0 {
		s.head.touched = append(s.head.touched, ser)
	}
	ser.head = append(ser.head, b)
}

func (s *Service) addPlaced(ser *series, b chunk.Block, c clock, from origin) {
	if len(b.Aux) == 0 {
		b.Aux = make([]int64, b.Len())
	}
	for i, raw := range b.Times {
		b.Times[i] = c.utc - int64(c.mono) + b.Aux[i] + raw
		b.Aux[i] = raw - b.Times[i]
	}
	s.keepBlock(ser, &headBlock{Block: b, origin: []origin{from}})
	s.head.readings += b.Len()
	if ser.newest != nil {
		ser.newest.see(&b, 0)
	}
}

// waiting is unplaced readings of one series.
type waiting struct {
	series *series
	hour   hourKey
	block  chunk.Block
	bad    int64
}

// unplacedBlocks returns the stored readings that wait for a boot's clock,
// after the flush under way.
func (s *Service) unplacedBlocks(ctx context.Context, g *gateway, boot uint64) ([]waiting, error) {
	for _, ser := range g.series {
		if slices.ContainsFunc(ser.flushing, func(b *headBlock) bool { return b.boot == boot && boot != 0 }) {
			if err := s.awaitFlush(ctx); err != nil {
				return nil, err
			}
			break
		}
	}
	p := s.parts.get(unplacedName)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		out, err := s.readUnplaced(p, g, boot)
		if err == nil {
			return out, nil
		}
		if damaged(err) {
			s.setAside(p, err)
			continue
		}
		s.cfg.Log.Error("readings that wait for a clock cannot be read; trying again", "site", g.addr.Site, "gateway", g.addr.Name, "err", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (s *Service) readUnplaced(p *partition, g *gateway, boot uint64) ([]waiting, error) {
	if err := s.loadPartition(p); err != nil {
		return nil, err
	}
	if !p.holds(g.id) || s.moved[bootKey{g.id, boot}] {
		return nil, nil
	}
	db, err := p.conn()
	if err != nil {
		return nil, err
	}
	var out []waiting
	for _, ser := range g.series {
		rows, err := db.Query(`SELECT t0, bad, body FROM chunk WHERE series=? AND boot=? AND pos<=?`, ser.id, int64(boot), int64(s.flushed))
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var t0, bad int64
			var body []byte
			if err = rows.Scan(&t0, &bad, &body); err != nil {
				break
			}
			w := waiting{series: ser, hour: hourKey{g.id, floorDiv(t0, hourMs)}, bad: bad}
			if w.block, err = chunk.Decode(body); err != nil {
				s.cfg.Log.Error("a chunk is damaged; its readings cannot be placed", "file", p.path, "point", ser.point, "err", err)
				err = nil
				continue
			}
			out = append(out, w)
		}
		if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// forgetUnplaced takes readings that were placed out of the counts of the
// unplaced ones; the next flush takes them out of the file.
func (s *Service) forgetUnplaced(placed []waiting) {
	p := s.parts.get(unplacedName)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range placed {
		if h := p.hours[w.hour]; h != nil {
			h.n, h.bad, h.live = h.n-int64(w.block.Len()), h.bad-w.bad, h.live-int64(w.block.Len())
		}
	}
}
