package data

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/data/chunk"
	"tidemark/protocol"
)

const minuteMs = int64(time.Minute / time.Millisecond)

// aggregate is the readings of a series in one interval. A value that is no
// finite number counts as bad: nothing can be computed with it.
type aggregate struct {
	start, n, bad       int64
	sum, min, max       float64
	first, last         float64
	firstTime, lastTime int64
	initialised         bool
}

func (a *aggregate) add(t int64, f float64) {
	if !a.initialised {
		a.initialised = true
		a.min, a.max, a.first, a.last, a.firstTime, a.lastTime = f, f, f, f, t, t
	}
	a.n++
	a.sum += f
	a.min, a.max = min(a.min, f), max(a.max, f)
	if t < a.firstTime {
		a.firstTime, a.first = t, f
	}
	if t >= a.lastTime {
		a.lastTime, a.last = t, f
	}
}

// merge adds a later interval's readings.
func (a *aggregate) merge(b *aggregate) {
	a.bad += b.bad
	if b.n == 0 {
		return
	}
	if a.n == 0 {
		start, bad := a.start, a.bad
		*a = *b
		a.start, a.bad = start, bad
		return
	}
	a.n, a.sum = a.n+b.n, a.sum+b.sum
	a.min, a.max = min(a.min, b.min), max(a.max, b.max)
	a.last, a.lastTime = b.last, b.lastTime
}

// minutes aggregates blocks of one hour by the minute.
func minutes(hour int64, blocks []chunk.Block) []aggregate {
	var slots [60]aggregate
	base, _ := hourBounds(hour)
	for k := range blocks {
		b := &blocks[k]
		if b.Kind == protocol.Text {
			continue
		}
		mark := 0
		for i, t := range b.Times {
			a := &slots[(t-base)/minuteMs]
			for mark < len(b.Marks) && b.Marks[mark].First+b.Marks[mark].Count <= i {
				mark++
			}
			bad := mark < len(b.Marks) && b.Marks[mark].First <= i && b.Marks[mark].Quality >= protocol.Bad
			var f float64
			switch {
			case bad:
			case len(b.Floats) > 0:
				f = b.Floats[i]
			case b.Kind == protocol.Float:
				f = b.Scale.Value(b.Ints[i])
			default:
				f = float64(b.Ints[i])
			}
			if bad || f-f != 0 { // NaN or infinite
				a.bad++
				continue
			}
			a.add(t, f)
		}
	}
	out := make([]aggregate, 0, 60)
	for i := range slots {
		if a := &slots[i]; a.n+a.bad > 0 {
			a.start = base + int64(i)*minuteMs
			out = append(out, *a)
		}
	}
	return out
}

// whole merges the minutes of an hour into one.
func whole(hour int64, mins []aggregate) []aggregate {
	if len(mins) == 0 {
		return nil
	}
	base, _ := hourBounds(hour)
	out := aggregate{start: base}
	for i := range mins {
		out.merge(&mins[i])
	}
	return []aggregate{out}
}

// floorTo returns the start of the interval that t lies in.
func floorTo(t, width int64) int64 {
	start := floorDiv(t, width) * width
	if start > t { // it is before all time
		return math.MinInt64
	}
	return start
}

// rollups are the files of roll-ups of sealed hours, one a month.
type rollups struct {
	dir string
	mu  sync.Mutex
	dbs map[string]*sql.DB
}

// A row is a minute's or an hour's roll-up. What it says follows from the
// readings alone, so it is written anew whenever its hour is sealed again.
const rollupSchema = `
CREATE TABLE IF NOT EXISTS rollup(
  width INTEGER NOT NULL, series INTEGER NOT NULL, start INTEGER NOT NULL, n INTEGER NOT NULL, bad INTEGER NOT NULL,
  sum REAL NOT NULL, min REAL NOT NULL, max REAL NOT NULL, first REAL NOT NULL, last REAL NOT NULL, first_time INTEGER NOT NULL, last_time INTEGER NOT NULL,
  PRIMARY KEY(width, series, start)) WITHOUT ROWID;`

func openRollups(dir string) (*rollups, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("data: make the folder of roll-ups: %w", err)
	}
	return &rollups{dir: dir, dbs: map[string]*sql.DB{}}, nil
}

func monthOf(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01") }

// open returns a month's file; nil if it is missing and must not be made.
func (r *rollups) open(month string, make bool) (*sql.DB, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if db := r.dbs[month]; db != nil {
		return db, nil
	}
	path := filepath.Join(r.dir, month+".db")
	if _, err := os.Stat(path); err != nil && !make {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("data: open %s: %w", path, err)
	}
	db, err := openDB(path, rollupSchema, 3)
	if err != nil {
		return nil, fmt.Errorf("data: open %s: %w", path, err)
	}
	r.dbs[month] = db
	return db, nil
}

// months returns the months of which there are files, in order.
func (r *rollups) months() ([]string, error) {
	files, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("data: list roll-ups: %w", err)
	}
	var out []string
	for _, f := range files {
		if m, ok := strings.CutSuffix(f.Name(), ".db"); ok {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (r *rollups) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for m, db := range r.dbs {
		err = errors.Join(err, db.Close())
		delete(r.dbs, m)
	}
	return err
}

// read returns a series' stored roll-ups of a width in the range, by hour.
func (r *rollups) read(ctx context.Context, series, width, from, to int64, most int) (map[int64][]aggregate, error) {
	out := map[int64][]aggregate{}
	months, err := r.months()
	if err != nil {
		return nil, err
	}
	n := 0
	for _, m := range months {
		if n >= most || to != math.MaxInt64 && m > monthOf(to-1) || from > 0 && m < monthOf(from) {
			continue
		}
		db, err := r.open(m, false)
		if db == nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		rows, err := db.QueryContext(ctx, `SELECT start, n, bad, sum, min, max, first, last, first_time, last_time FROM rollup
			WHERE width=? AND series=? AND start>=? AND start<? ORDER BY start LIMIT ?`, width, series, from, to, most-n)
		if err != nil {
			return nil, fmt.Errorf("data: read roll-ups of %s: %w", m, err)
		}
		for rows.Next() && err == nil {
			a := aggregate{initialised: true}
			if err = rows.Scan(&a.start, &a.n, &a.bad, &a.sum, &a.min, &a.max, &a.first, &a.last, &a.firstTime, &a.lastTime); err == nil {
				h := floorDiv(a.start, hourMs)
				out[h] = append(out[h], a)
				n++
			}
		}
		if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("data: read roll-ups of %s: %w", m, err)
		}
	}
	return out, nil
}

// rollupPage appends roll-ups of a series until the page is full; then it sets
// Next. Hours that are not sealed are computed from their readings.
func (v *view) rollupPage(ctx context.Context, p *page, ser *series, at cursor, width int64) error {
	if p.full() {
		p.result.Next = at.String()
		return nil
	}
	if ser.kind == protocol.Text {
		return nil
	}
	from := floorTo(at.TimeMs, width)
	stored, err := v.s.rollups.read(ctx, ser.id, width, from, p.to, p.limit+60)
	if err != nil {
		return err
	}
	hours := v.hours(ser, from, p.to)
	for h := range stored {
		if !slices.Contains(hours, h) {
			hours = append(hours, h)
		}
	}
	slices.Sort(hours)
	for _, hour := range hours {
		aggs := stored[hour]
		if v.open(ser, hour) {
			lo, hi := hourBounds(hour)
			blocks, err := v.blocks(ctx, ser, lo, hi+1, true)
			if err != nil {
				return err
			}
			if aggs = minutes(hour, blocks); width == hourMs {
				aggs = whole(hour, aggs)
			}
		}
		for i := range aggs {
			if aggs[i].start < from || aggs[i].start >= p.to {
				continue
			}
			if p.full() {
				at.TimeMs, at.Seen = aggs[i].start, 0
				p.result.Next = at.String()
				return nil
			}
			p.result.Rollups = append(p.result.Rollups, aggs[i].served(ser))
			p.bytes += 260
		}
	}
	return nil
}

// open reports whether a series has readings in an hour that its roll-ups do
// not contain yet.
func (v *view) open(ser *series, hour int64) bool {
	for _, b := range v.heads[ser] {
		for _, t := range b.Times {
			if floorDiv(t, hourMs) == hour {
				return true
			}
		}
	}
	for _, p := range v.parts {
		if p.name == unplacedName {
			continue
		}
		p.mu.Lock()
		h := p.hours[hourKey{ser.gateway.id, hour}]
		live := h != nil && h.live > 0
		p.mu.Unlock()
		if live {
			return true
		}
	}
	return false
}

func (a *aggregate) served(ser *series) contract.Rollup {
	out := contract.Rollup{Site: ser.gateway.addr.Site, Gateway: ser.gateway.addr.Name, Point: ser.point, TimeMs: a.start,
		Count: a.n, Bad: a.bad, Min: a.min, Max: a.max, First: a.first, Last: a.last}
	if a.n > 0 {
		if out.Mean = a.sum / float64(a.n); math.IsInf(out.Mean, 0) || math.IsNaN(out.Mean) { // the sum was too large
			out.Mean = a.min/2 + a.max/2
		}
	}
	return out
}
