package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"tidemark/drivers"
)

// pass is one run through the file. Times are in Unix nanoseconds as recorded.
type pass struct {
	any     bool          // a row of a listed point had a time
	first   int64         // time of the first such row
	last    int64         // time of the last
	most    int64         // the latest time
	begin   int64         // time of the last sweep's first row
	period  int64         // between the last two sweeps
	shift   time.Duration // added to all times, since earlier passes took that long
	rowsNow uint64        // stats.Rows when it began
}

// note takes the time of a row. fresh says that a sweep begins with it.
func (p *pass) note(ns int64, fresh bool) {
	if !p.any {
		p.any, p.first, p.most, p.begin = true, ns, ns, ns
	}
	if fresh {
		if d := ns - p.begin; d > 0 {
			p.period = d
		}
		p.begin = ns
	}
	p.last = ns
	p.most = max(p.most, ns)
}

// again returns the pass that follows: its first sweep comes one period after
// the last. It is not ok if times would leave what 64 bits of nanoseconds hold.
func (p *pass) again(rows uint64) (next pass, ok bool) {
	period := p.period
	if period == 0 {
		period = int64(time.Second)
	}
	begin := max(p.begin+period, p.most+int64(time.Millisecond))
	length := begin - p.first
	room := math.MaxInt64 - max(p.most, 0) - int64(p.shift)
	next = pass{shift: p.shift + time.Duration(length), rowsNow: rows}
	return next, length > 0 && length < room
}

func (p *pass) time(ns int64) time.Time { return time.Unix(0, ns+int64(p.shift)).UTC() }

// sweep is one that is being read.
type sweep struct {
	prev     int   // the last point, or -1
	first    int64 // time of the first row that has one
	timed    bool  // there is such a row
	timeless bool  // a row's time could not be read
}

// over says whether r belongs to the next sweep.
func (w *sweep) over(r row, last int64) bool {
	switch {
	case w.prev < 0 || r.point < 0:
		return false
	case r.point <= w.prev:
		return true
	}
	return r.err == nil && w.timed && (r.ns < last || r.ns-w.first > int64(MaxSpan))
}

// sweep reads rows into sc until one belongs to the next sweep.
func (s *Sensor) sweep(ctx context.Context, sc *drivers.Scan) error {
	w := sweep{prev: -1}
	for {
		line, size, err := s.row(ctx)
		switch {
		case err == nil:
			want := w.prev + 1
			if want == len(s.kinds) {
				want = 0
			}
			r := s.rows.split(line, want)
			if !w.over(r, s.pass.last) {
				s.use(sc, &w, r)
				s.lines.take(size)
				continue
			}
		case errors.Is(err, io.EOF) && w.prev >= 0:
			err = nil // the next poll deals with it
		case errors.Is(err, io.EOF):
			if err = s.wrap(); err == nil {
				continue
			}
		}
		some := w.prev >= 0 && s.finish(sc, w.timeless)
		switch {
		case err != nil && some:
			s.hold(sc)
			return err
		case err != nil || some:
			return err
		}
		w = sweep{prev: -1}
	}
}

// use puts a row into sc.
func (s *Sensor) use(sc *drivers.Scan, w *sweep, r row) {
	s.stats.Rows++
	switch {
	case r.point < 0 && errors.Is(r.err, errFields):
		s.bad("", r.err)
	case r.point < 0:
		s.stats.Unlisted++
	case r.err != nil:
		w.prev, w.timeless = r.point, true
		sc.Fail(r.point, ReasonFormat)
		s.bad(s.rows.names[r.point], r.err)
	default:
		s.pass.note(r.ns, !w.timed)
		if !w.timed {
			w.first, w.timed = r.ns, true
		}
		w.prev = r.point
		sc.Times[r.point] = s.pass.time(r.ns)
		s.set(sc, r)
	}
}

// set reads a row's value.
func (s *Sensor) set(sc *drivers.Scan, r row) {
	k := s.kinds[r.point]
	v, err := value(k, r.value, s.texts[r.point])
	if err != nil {
		reason := ReasonFormat
		if errors.Is(err, errRange) {
			reason = drivers.ReasonRange
		}
		sc.Fail(r.point, reason)
		s.bad(s.rows.names[r.point], err)
		return
	}
	if k == kindText {
		s.texts[r.point] = v.Text()
	}
	sc.Set(r.point, v)
}

// finish gives points whose rows had no time one of the sweep: that of the
// reading before, else of the first, else of the last row of all. If there is
// none, there is no reading either; finish says whether there is any.
func (s *Sensor) finish(sc *drivers.Scan, timeless bool) (some bool) {
	if !timeless {
		return true
	}
	var t time.Time
	for i, u := range sc.Times {
		if sc.Readings[i].Quality != drivers.NotRead && !u.IsZero() {
			t = u
			break
		}
	}
	if t.IsZero() && s.pass.any {
		t = s.pass.time(s.pass.last)
	}
	for i := range sc.Times {
		switch {
		case sc.Readings[i].Quality == drivers.NotRead:
		case !sc.Times[i].IsZero():
			t = sc.Times[i]
		case t.IsZero():
			sc.Readings[i] = drivers.Reading{}
		default:
			sc.Times[i] = t
		}
	}
	return !t.IsZero()
}

const heading = "time,point,value"

// row returns the next row, past headings, empty lines and rows that are too
// long, and how many bytes to take for it.
func (s *Sensor) row(ctx context.Context) (line []byte, size int, err error) {
	l := &s.lines
	for {
		line, size, err = l.next(ctx)
		switch {
		case err != nil:
			return nil, 0, err
		case l.skip:
			l.skip = !l.take(size)
		case len(line) > MaxRow:
			s.stats.Rows++
			s.bad("", errTooLong)
			l.skip = !l.take(size)
		case len(line) == 0 || l.line == 1 && strings.TrimPrefix(string(line), "\ufeff") == heading:
			l.take(size)
		default:
			return line, size, nil
		}
	}
}

func (s *Sensor) bad(point string, err error) {
	s.stats.Bad++
	if len(s.stats.Errors) < MaxErrors {
		s.stats.Errors = append(s.stats.Errors,
			&RowError{File: filepath.Base(s.lines.path), Line: s.lines.line, Point: point, Err: err})
	}
}

// wrap deals with the file's end: nil says that it starts over.
func (s *Sensor) wrap() error {
	p := s.pass
	if !p.any {
		s.ended = !s.loop
		s.pass.rowsNow = s.stats.Rows
		s.lines.rewind()
		return &drivers.ReadError{Reason: drivers.ReasonNotFound,
			Err: fmt.Errorf("replay: none of the %d rows of %s can be read as a reading of a point that the profile lists: its points are named device.point, as in %s",
				s.stats.Rows-p.rowsNow, s.lines.path, s.rows.names[0])}
	}
	next, ok := p.again(s.stats.Rows)
	if !s.loop || !ok {
		s.ended = true
		return io.EOF
	}
	s.pass = next
	s.stats.Loops++
	s.lines.rewind()
	return nil
}
