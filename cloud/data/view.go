package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/data/chunk"
	"tidemark/protocol"
)

// view is the state at one position that a query answers from: chunks of the
// files up to flushed, and copies of what is in memory. Who holds one holds
// Service.layout for reading.
type view struct {
	s       *Service
	flushed uint64
	fresh   contract.Freshness
	moved   map[bootKey]bool
	heads   map[*series][]chunk.Block
	waiting map[*series][]chunk.Block // of heads, what waits for a clock: its times are the raw ones
	parts   []*partition
	damaged []string // chunks that do not decode, by file and point
}

// freshness says how far an answer reaches. The caller holds mu.
func (s *Service) freshness(now time.Time) contract.Freshness {
	f := contract.Freshness{AsOfMs: s.asOfUs / 1000, Through: s.applied}
	if s.pending > 0 {
		f.LagMs = max(1, now.UnixMilli()-s.asOfUs/1000)
	}
	return f
}

// loadAll loads every partition, so that taking a view seldom reads a file.
func (s *Service) loadAll() error {
	for _, p := range s.parts.all() {
		s.mu.RLock()
		err := p.load(s.catalog, s.flushed, s.moved)
		s.mu.RUnlock()
		if err != nil {
			return s.queryFailed(p, err)
		}
	}
	return nil
}

// queryFailed has a damaged file set aside, once no query uses it.
func (s *Service) queryFailed(p *partition, err error) error {
	if damaged(err) {
		p.suspect.Store(true)
	}
	return err
}

// look takes a view with the head's readings of the series that pick names,
// from from to to, not included. pick is called at the view's position, so that
// no series which an entry has just made is left out.
func (s *Service) look(pick func() []*series, from, to int64) (*view, error) {
	s.setSuspectsAside()
	if err := s.loadAll(); err != nil {
		return nil, err
	}
	s.layout.RLock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.parts.all() {
		if err := p.load(s.catalog, s.flushed, s.moved); err != nil {
			s.layout.RUnlock()
			return nil, s.queryFailed(p, err)
		}
	}
	v := &view{s: s, flushed: s.flushed, fresh: s.freshness(time.Now()), moved: map[bootKey]bool{}, heads: map[*series][]chunk.Block{},
		waiting: map[*series][]chunk.Block{}, parts: s.parts.all()}
	slices.SortFunc(v.parts, func(a, b *partition) int { return cmp.Compare(a.name, b.name) })
	for k := range s.moved {
		v.moved[k] = true
	}
	for _, ser := range pick() {
		for _, blocks := range [...][]*headBlock{ser.flushing, ser.head} {
			for _, b := range blocks {
				if b.boot == 0 {
					v.heads[ser] = appendRange(v.heads[ser], &b.Block, from, to)
					continue
				}
				raw := b.Block
				raw.Aux = nil
				v.waiting[ser] = appendRange(v.waiting[ser], &raw, from, to)
			}
		}
	}
	return v, nil
}

// nothing picks no series.
func nothing() []*series { return nil }

func (v *view) release() { v.s.layout.RUnlock() }

// setSuspectsAside sets files aside that a query found damaged, if they still
// are: meanwhile a new file may stand in the place of the damaged one.
func (s *Service) setSuspectsAside() {
	for _, p := range s.parts.all() {
		if !p.suspect.Load() {
			continue
		}
		s.layout.Lock()
		if p.suspect.Swap(false) {
			if err := p.check(); damaged(err) || errors.Is(err, errUnsound) {
				s.setAside(p, err)
			}
		}
		s.layout.Unlock()
	}
}

// check has SQLite look through the file.
func (p *partition) check() error {
	db, err := p.conn()
	if err != nil {
		return err
	}
	var result string
	if err := db.QueryRow(`PRAGMA quick_check(1)`).Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return fmt.Errorf("%w: %s", errUnsound, result)
	}
	return nil
}

// appendRange appends copies of the runs of b that lie in the range.
func appendRange(out []chunk.Block, b *chunk.Block, from, to int64) []chunk.Block {
	for i := 0; i < b.Len(); {
		if b.Times[i] < from || b.Times[i] >= to {
			i++
			continue
		}
		k := i
		for k < b.Len() && b.Times[k] >= from && b.Times[k] < to {
			k++
		}
		part := b.Slice(i, k)
		out = append(out, part.Clone())
		i = k
	}
	return out
}

// hours returns the hours in the range that hold readings of a series, in
// order, by the gateway's counts and the series' head.
func (v *view) hours(ser *series, from, to int64) []int64 {
	set := map[int64]bool{}
	for _, p := range v.parts {
		p.mu.Lock()
		for k, h := range p.hours {
			if k.gateway == ser.gateway.id && h.n > 0 {
				set[k.hour] = true
			}
		}
		p.mu.Unlock()
	}
	for _, blocks := range [...][]chunk.Block{v.heads[ser], v.waiting[ser]} {
		for _, b := range blocks {
			for _, t := range b.Times {
				set[floorDiv(t, hourMs)] = true
			}
		}
	}
	out := make([]int64, 0, len(set))
	for h := range set {
		if h >= floorDiv(from, hourMs) && h <= floorDiv(to-1, hourMs) {
			out = append(out, h)
		}
	}
	slices.Sort(out)
	return out
}

// blocks returns the readings of a series in the range, which must lie in one
// hour: those of the files in no order, then those in memory. Those that wait
// for a clock are left out if placed is set.
func (v *view) blocks(ctx context.Context, ser *series, from, to int64, placed bool) ([]chunk.Block, error) {
	var out []chunk.Block
	hour := floorDiv(from, hourMs)
	for _, p := range v.parts {
		if placed && p.name == unplacedName || !p.has(hourKey{ser.gateway.id, hour}) {
			continue
		}
		var err error
		if out, err = v.chunks(ctx, p, ser, hour, out, from, to); err != nil {
			return nil, v.s.queryFailed(p, err)
		}
	}
	for i := range v.heads[ser] {
		out = appendRange(out, &v.heads[ser][i], from, to)
	}
	for i := range v.waiting[ser] {
		if !placed {
			out = appendRange(out, &v.waiting[ser][i], from, to)
		}
	}
	return out, nil
}

func (p *partition) has(k hourKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hours[k] != nil
}

func (v *view) chunks(ctx context.Context, p *partition, ser *series, hour int64, out []chunk.Block, from, to int64) ([]chunk.Block, error) {
	db, err := p.conn()
	if err != nil {
		return nil, err
	}
	lo, _ := hourBounds(hour)
	rows, err := db.QueryContext(ctx, `SELECT boot, body FROM chunk WHERE series=? AND t0>=? AND t0<? AND t1>=? AND pos<=? ORDER BY pos, k`,
		ser.id, lo, to, from, int64(v.flushed))
	if err != nil {
		return nil, fmt.Errorf("data: read %s: %w", p.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var boot int64
		var body []byte
		if err := rows.Scan(&boot, &body); err != nil {
			return nil, fmt.Errorf("data: read %s: %w", p.path, err)
		}
		if boot != 0 && v.moved[bootKey{ser.gateway.id, uint64(boot)}] {
			continue
		}
		b, err := chunk.Decode(body)
		if err != nil {
			v.damaged = append(v.damaged, p.name+" point "+ser.point)
			continue
		}
		if boot != 0 {
			b.Aux = nil // the times are the raw ones
		}
		out = appendRange(out, &b, from, to)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("data: read %s: %w", p.path, err)
	}
	return out, nil
}

// choose returns the series of a request, ordered by gateway and point.
func (c *catalog) choose(site, gw string, points []string) (sel []*series, siteKnown bool) {
	want := map[string]bool{}
	for _, p := range points {
		want[p] = true
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for a, g := range c.gateways {
		if site != "" && a.Site != site {
			continue
		}
		siteKnown = true
		if gw != "" && a.Name != gw {
			continue
		}
		for _, s := range g.series {
			if len(want) == 0 || want[s.point] {
				sel = append(sel, s)
			}
		}
	}
	slices.SortFunc(sel, func(a, b *series) int {
		return cmp.Or(cmp.Compare(a.gateway.addr.Site, b.gateway.addr.Site), cmp.Compare(a.gateway.addr.Name, b.gateway.addr.Name), cmp.Compare(a.point, b.point))
	})
	return sel, siteKnown
}

// servedReading is a reading as it goes into JSON.
func servedReading(point string, at, raw int64, r protocol.Reading) contract.Reading {
	out := contract.Reading{Point: point, TimeMs: at, Quality: r.Quality.String(), Reason: r.Reason}
	if raw != at {
		out.RawTimeMs = raw
	}
	if r.Quality < protocol.Bad {
		out.Value = servedValue(r.Value)
	}
	return out
}

func servedValue(v protocol.Value) any {
	if v.Kind() != protocol.Float {
		return v.Any()
	}
	switch f := v.Float(); {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	default:
		return f
	}
}

var kindNames = [...]string{"float", "int", "bool", "text"}
