package data

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"tidemark/cloud/contract"
	"tidemark/cloud/data/chunk"
)

// cursor says where the next page of a series begins.
type cursor struct {
	Gateway string `json:"g"`
	Point   string `json:"p"`
	TimeMs  int64  `json:"t"`
	Seen    int    `json:"n,omitempty"` // readings of that time on the pages before
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("data: a cursor that does not encode: " + err.Error()) // only strings and integers stand in it
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(s string) (c cursor, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || len(s) > 400 || c.Seen < 0 {
		return c, refuse(400, "bad_cursor", "the cursor is none that a page gave; begin again without one")
	}
	return c, nil
}

// page is an answer while it is gathered.
type page struct {
	limit, bytes int
	from, to     int64
	result       contract.ReadingsResult
}

func (p *page) full() bool {
	return len(p.result.Readings)+len(p.result.Rollups) >= p.limit || p.bytes >= maxReply
}

func (s *Service) queryReadings(ctx context.Context, q contract.ReadingsQuery) (contract.ReadingsResult, error) {
	none := contract.ReadingsResult{}
	if q.Site == "" {
		return none, refuse(400, "no_site", "say of which site")
	}
	limit, err := checkLimit(q.Limit)
	err = cmp.Or(err, checkNames(q.Site, q.Gateway), checkRange(q.FromMs, q.ToMs), pointsOf(q.Points))
	if err != nil {
		return none, err
	}
	width, ok := map[string]int64{"": 0, "1m": minuteMs, "1h": hourMs}[q.Rollup]
	if !ok {
		return none, refuse(400, "bad_rollup", "%.40q is not 1m or 1h; leave it out for readings", q.Rollup)
	}
	p := &page{limit: limit, from: q.FromMs, to: q.ToMs}
	if p.to == 0 {
		p.to = math.MaxInt64
	}
	var at cursor
	if q.Cursor != "" {
		if at, err = parseCursor(q.Cursor); err != nil {
			return none, err
		}
	}
	var sel, rest []*series
	var known bool
	pick := func() []*series {
		sel, known = s.catalog.choose(q.Site, q.Gateway, q.Points)
		rest = slices.DeleteFunc(slices.Clone(sel), func(ser *series) bool {
			return q.Cursor != "" && cmp.Or(cmp.Compare(ser.gateway.addr.Name, at.Gateway), cmp.Compare(ser.point, at.Point)) < 0
		})
		return rest
	}
	from, to := p.from, p.to
	if width != 0 { // an open hour is rolled up as a whole
		from = floorTo(from, hourMs)
		if to < math.MaxInt64-hourMs {
			to = (floorDiv(to-1, hourMs) + 1) * hourMs
		}
	}
	v, err := s.look(pick, from, to)
	if err != nil {
		return none, err
	}
	defer v.release()
	for _, ser := range rest {
		from := cursor{Gateway: ser.gateway.addr.Name, Point: ser.point, TimeMs: p.from}
		if q.Cursor != "" && from.Gateway == at.Gateway && from.Point == at.Point {
			from = at
			from.TimeMs = max(from.TimeMs, p.from)
		}
		if width != 0 {
			err = v.rollupPage(ctx, p, ser, from, width)
		} else {
			err = v.readingsPage(ctx, p, ser, from)
		}
		if err != nil {
			return none, err
		}
		if p.result.Next != "" {
			break
		}
	}
	p.result.Freshness = v.fresh
	s.explain(&p.result.Freshness, known, sel, q.Site, len(p.result.Readings)+len(p.result.Rollups) == 0, q.FromMs, q.ToMs)
	if len(v.damaged) > 0 {
		p.result.MissingReason = "quarantined"
		p.result.MissingText = fmt.Sprintf("%d chunks are damaged and were left out, the first in raw file %s; the lake may hold their readings.", len(v.damaged), v.damaged[0])
	}
	return p.result, nil
}

// readingsPage appends readings of a series until the page is full; then it
// sets Next.
func (v *view) readingsPage(ctx context.Context, p *page, ser *series, at cursor) error {
	if p.full() {
		p.result.Next = at.String()
		return nil
	}
	skip := at.Seen
	for _, hour := range v.hours(ser, at.TimeMs, p.to) {
		lo, hi := hourBounds(hour)
		blocks, err := v.blocks(ctx, ser, max(lo, at.TimeMs), min(hi, p.to-1)+1, false)
		if err != nil {
			return err
		}
		for _, w := range byTime(blocks) {
			b := &blocks[w.block]
			t := b.Times[w.i]
			if skip > 0 && t == at.TimeMs {
				skip--
				continue
			}
			if p.full() {
				p.result.Next = at.String()
				return nil
			}
			if t != at.TimeMs {
				at.TimeMs, at.Seen = t, 0
			}
			at.Seen++
			r := servedReading(ser.point, t, t+b.AuxOf(w.i), b.Reading(w.i))
			r.Site, r.Gateway = ser.gateway.addr.Site, ser.gateway.addr.Name
			p.result.Readings = append(p.result.Readings, r)
			p.bytes += 180
			if text, ok := r.Value.(string); ok {
				p.bytes += 2 * len(text)
			}
		}
	}
	return nil
}

// where is the place of a reading in some blocks.
type where struct{ block, i int }

// byTime returns the places of all readings by time; those of one time keep
// the order of the blocks.
func byTime(blocks []chunk.Block) []where {
	n := 0
	for i := range blocks {
		n += blocks[i].Len()
	}
	out := make([]where, 0, n)
	for k := range blocks {
		for i := range blocks[k].Times {
			out = append(out, where{k, i})
		}
	}
	at := func(a, b where) int { return cmp.Compare(blocks[a.block].Times[a.i], blocks[b.block].Times[b.i]) }
	if !slices.IsSortedFunc(out, at) {
		slices.SortStableFunc(out, at)
	}
	return out
}
