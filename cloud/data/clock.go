package data

import (
	"context"
	"errors"
	"slices"
	"time"

	"tidemark/cloud/data/chunk"
	"tidemark/cloud/stream"
)

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
