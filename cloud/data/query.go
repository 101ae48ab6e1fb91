package data

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// explain says why an answer is empty, or may lack something.
func (s *Service) explain(f *contract.Freshness, siteKnown bool, sel []*series, site string, empty bool, from, to int64) {
	set := func(reason, text string) { f.MissingReason, f.MissingText = reason, text }
	aside := slices.DeleteFunc(s.parts.damagedFiles(), func(name string) bool { return outside(name, from, to) })
	switch {
	case empty && !siteKnown && f.LagMs > 0:
		set("lagging", "There is nothing of site "+site+" yet, but bundles are waiting to be stored; ask again.")
	case empty && !siteKnown:
		set("no_such_site", "No gateway of site "+site+" has sent a reading.")
	case empty && len(sel) == 0:
		set("no_such_point", "No gateway that was asked for has sent a reading of such a point.")
	case len(aside) > 0:
		set("quarantined", "Damaged files were set aside, so readings may be missing: "+strings.Join(aside, ", ")+" in the folder raw of the data service.")
	case empty && to != 0 && to <= time.Now().Add(-s.cfg.RawRetention).UnixMilli():
		set("before_retention", "Readings that old are no longer kept here; the lake may hold them.")
	case empty && f.LagMs > 0:
		set("lagging", "There is nothing in the range yet, but bundles are waiting to be stored; ask again.")
	case empty:
		set("none_in_range", "There are no readings in the range.")
	}
}

// outside reports whether a file holds only days that are not in a range; to
// of 0 is no end.
func outside(name string, from, to int64) bool {
	day, err := time.Parse(time.DateOnly, name[:min(len(name), len(time.DateOnly))])
	if err != nil {
		return false // it may hold any time
	}
	return day.AddDate(0, 0, 1).UnixMilli() <= from || to != 0 && day.UnixMilli() >= to
}

func (s *Service) queryCount(ctx context.Context, q contract.CountQuery) (contract.CountResult, error) {
	if err := checkNames(q.Site, q.Gateway); err != nil {
		return contract.CountResult{}, err
	}
	if err := checkRange(q.FromMs, q.ToMs); err != nil {
		return contract.CountResult{}, err
	}
	from, to := q.FromMs, q.ToMs
	if from == 0 {
		from = math.MinInt64
	}
	if to == 0 {
		to = math.MaxInt64
	}
	var sel []*series
	var known bool
	v, counts, err := s.lookCounts(func() []*series {
		sel, known = s.catalog.choose(q.Site, q.Gateway, nil)
		return sel
	}, from, to)
	if err != nil {
		return contract.CountResult{}, err
	}
	defer v.release()
	var r contract.CountResult
	r.Readings, r.Bad = counts.n, counts.bad
	for _, e := range counts.edges {
		n, bad, err := v.countEdge(ctx, e, from, to)
		if err != nil {
			return contract.CountResult{}, err
		}
		r.Readings, r.Bad = r.Readings+n, r.Bad+bad
	}
	r.Good, r.Freshness = r.Readings-r.Bad, v.fresh
	s.explain(&r.Freshness, known, sel, q.Site, r.Readings == 0, q.FromMs, q.ToMs)
	return r, nil
}

// counts are the sums of whole hours and of what is in memory, and the hours
// that lie only partly in the range.
type counts struct {
	n, bad int64
	edges  []edge
}

type edge struct {
	part *partition
	key  hourKey
}

// lookCounts takes a view without readings, and with it, at the same position,
// the counts.
func (s *Service) lookCounts(pick func() []*series, from, to int64) (*view, counts, error) {
	var c counts
	v, err := s.look(nothing, 0, 0)
	if err != nil {
		return nil, c, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	v.flushed, v.fresh, v.parts = s.flushed, s.freshness(time.Now()), s.parts.all()
	sel := pick()
	gws := map[int64]bool{}
	for _, ser := range sel {
		gws[ser.gateway.id] = true
	}
	clear(v.moved)
	for k := range s.moved {
		v.moved[k] = true
	}
	for _, p := range v.parts {
		if err := p.load(s.catalog, s.flushed, s.moved); err != nil {
			v.release()
			return nil, c, s.queryFailed(p, err)
		}
		p.mu.Lock()
		for k, h := range p.hours {
			lo, hi := hourBounds(k.hour)
			switch {
			case !gws[k.gateway] || hi < from || lo >= to || h.n == 0:
			case lo >= from && hi < to:
				c.n, c.bad = c.n+h.n, c.bad+h.bad
			default:
				c.edges = append(c.edges, edge{p, k})
			}
		}
		p.mu.Unlock()
	}
	for _, ser := range sel {
		for _, blocks := range [...][]*headBlock{ser.flushing, ser.head} {
			for _, b := range blocks {
				n, bad := countIn(&b.Block, from, to)
				c.n, c.bad = c.n+n, c.bad+bad
			}
		}
	}
	return v, c, nil
}

func (s *Service) querySeries(ctx context.Context, q contract.SeriesQuery) (contract.SeriesResult, error) {
	if err := checkNames(q.Site, q.Gateway); err != nil {
		return contract.SeriesResult{}, err
	}
	limit, err := checkLimit(q.Limit)
	if err != nil {
		return contract.SeriesResult{}, err
	}
	s.mu.RLock()
	fresh := s.freshness(time.Now()) // before the series are chosen: they include all up to there
	s.mu.RUnlock()
	sel, known := s.catalog.choose(q.Site, q.Gateway, nil)
	all := sel
	sel = sel[:min(len(sel), limit)]
	if err := s.findNewest(ctx, sel); err != nil {
		return contract.SeriesResult{}, err
	}
	r := contract.SeriesResult{Freshness: fresh, Series: make([]contract.Series, 0, len(sel))}
	s.mu.RLock()
	s.catalog.mu.RLock()
	for _, ser := range sel {
		a := ser.gateway.addr
		out := contract.Series{Site: a.Site, Gateway: a.Name, Point: ser.point, Unit: ser.unit, Kind: kindNames[ser.kind&3]}
		if n := ser.newest; n != nil && n.time != math.MinInt64 {
			reading := servedReading("", n.time, n.raw, n.reading)
			out.Newest = &reading
		}
		r.Series = append(r.Series, out)
	}
	s.catalog.mu.RUnlock()
	s.mu.RUnlock()
	s.explain(&r.Freshness, known, sel, q.Site, len(sel) == 0, 0, 0)
	if len(all) > limit && r.MissingReason == "" {
		r.MissingReason, r.MissingText = "limit", "There are more series than the limit; ask for one gateway, or with a higher limit."
	}
	return r, nil
}

// findNewest finds the newest readings of series that were stored before the
// service started; from then on the ETL keeps them up to date.
func (s *Service) findNewest(ctx context.Context, sel []*series) error {
	var missing []*series
	s.mu.RLock()
	for _, ser := range sel {
		if ser.newest == nil {
			missing = append(missing, ser)
		}
	}
	s.mu.RUnlock()
	if len(missing) == 0 {
		return nil
	}
	v, err := s.look(nothing, 0, 0)
	if err != nil {
		return err
	}
	defer v.release()
	for _, ser := range missing {
		n, err := v.newest(ctx, ser)
		if err != nil {
			return err
		}
		s.mu.Lock()
		if ser.newest == nil {
			for _, blocks := range [...][]*headBlock{ser.flushing, ser.head} { // what came since, in order
				for _, b := range blocks {
					if b.boot == 0 {
						n.see(&b.Block, 0)
					}
				}
			}
			ser.newest = n
		}
		s.mu.Unlock()
	}
	return nil
}

// newest returns the newest stored reading of a series.
func (v *view) newest(ctx context.Context, ser *series) (*newest, error) {
	n := &newest{time: math.MinInt64}
	hours := v.hours(ser, math.MinInt64+2*hourMs, math.MaxInt64)
	for i := len(hours) - 1; i >= 0 && n.time == math.MinInt64; i-- {
		from, to := hours[i]*hourMs, (hours[i]+1)*hourMs
		blocks, err := v.blocks(ctx, ser, from, to, true)
		if err != nil {
			return nil, err
		}
		for k := range blocks {
			n.see(&blocks[k], 0)
		}
	}
	return n, nil
}

// pointsOf checks the points of a request.
func pointsOf(points []string) error {
	if len(points) > maxPoints {
		return refuse(400, "too_many_points", "%d points are over the limit of %d", len(points), maxPoints)
	}
	for _, p := range points {
		if !protocol.ValidPointName(p) {
			return refuse(400, "bad_point", "%.140q is not a point of the form device.point", p)
		}
	}
	return nil
}
