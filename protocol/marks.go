package protocol

import (
	"slices"
	"sort"
)

// Mark says that consecutive scans of a column are not good.
type Mark struct {
	First, Count int // scans
	Quality      Quality
	Reason       string
}

// wireMark says that scans of consecutive points are not good. Points that
// stand together fail together, so a dead device takes one mark.
type wireMark struct {
	_       struct{} `cbor:",toarray"`
	Point   uint32
	Points  uint32
	Quality Quality
	Reason  uint32 // 0: none; else 1 + its index in the body's reasons
	Scans   Set    // counted from 1
}

// maxReason is the longest reason of a mark, in bytes.
const maxReason = 64

// placeMarks puts the marks of a body at the columns they name. It allocates
// for at most one mark for each reading.
func (t *Telemetry) placeMarks(marks []wireMark, reasons []string) error {
	t.marked = len(marks) > 0
	if !t.marked {
		return nil
	}
	covered, all := uint64(0), uint64(t.Scans*len(t.Columns))
	for i := range marks {
		m := &marks[i]
		reason, err := t.checkMark(m, reasons)
		if err != nil {
			return err
		}
		if covered += m.Scans.Count() * uint64(m.Points); covered > all {
			return refuse(ReasonMismatch, "marks", "they overlap")
		}
		for p := m.Point; p < m.Point+m.Points; p++ {
			c := &t.Columns[p]
			c.Marks = slices.Grow(c.Marks, len(m.Scans.ranges))
			for _, r := range m.Scans.ranges {
				c.Marks = append(c.Marks, Mark{int(r.First - 1), int(r.Count()), m.Quality, reason})
			}
		}
	}
	for p := range t.Columns {
		if err := t.Columns[p].sortMarks(); err != nil {
			return at("marks", err)
		}
	}
	return nil
}

func (t *Telemetry) checkMark(m *wireMark, reasons []string) (reason string, err error) {
	switch {
	case m.Points == 0 || uint64(m.Point)+uint64(m.Points) > uint64(len(t.Columns)):
		return "", refuse(ReasonMismatch, "marks", "points %d and %d more: there are %d", m.Point, m.Points, len(t.Columns))
	case m.Quality < Uncertain || m.Quality > NotRead:
		return "", refuse(ReasonMismatch, "marks", "quality %d", m.Quality)
	case m.Scans.Empty() || m.Scans.Max() > uint64(t.Scans):
		return "", refuse(ReasonMismatch, "marks", "no scan, or one beyond the %d there are", t.Scans)
	case uint64(m.Reason) > uint64(len(reasons)):
		return "", refuse(ReasonMismatch, "marks", "reason %d of %d", m.Reason, len(reasons))
	case m.Reason == 0:
		return "", nil
	}
	reason = reasons[m.Reason-1]
	if len(reason) > maxReason {
		return "", refuse(ReasonTooLarge, "marks", "a reason of %d bytes", len(reason))
	}
	return reason, nil
}

func (c *Column) sortMarks() error {
	if len(c.Marks) < 2 {
		return nil
	}
	byFirst := func(a, b Mark) int { return a.First - b.First }
	if !slices.IsSortedFunc(c.Marks, byFirst) {
		slices.SortFunc(c.Marks, byFirst)
	}
	for i := 1; i < len(c.Marks); i++ {
		if c.Marks[i].First < c.Marks[i-1].First+c.Marks[i-1].Count {
			return refuse(ReasonMismatch, "", "they overlap")
		}
	}
	return nil
}

// missing returns how many scans have no value.
func (c *Column) missing() (n int) {
	for _, m := range c.Marks {
		if m.Quality >= Bad {
			n += m.Count
		}
	}
	return n
}

// withoutValues marks the scans of a column without values that carry no mark
// as not read; plain is the mark for all scans.
func (c *Column) withoutValues(scans int, plain []Mark) error {
	if len(c.Marks) == 0 {
		c.Marks = plain
		return nil
	}
	all := make([]Mark, 0, 2*len(c.Marks)+1)
	next := 0
	for _, m := range c.Marks {
		if m.Quality < Bad {
			return refuse(ReasonMismatch, "", "a scan marked uncertain, and no values")
		}
		if m.First > next {
			all = append(all, Mark{next, m.First - next, NotRead, ""})
		}
		all = append(all, m)
		next = m.First + m.Count
	}
	if next < scans {
		all = append(all, Mark{next, scans - next, NotRead, ""})
	}
	c.Marks = all
	return nil
}

// spread moves values to the scans that they belong to. Between them stands
// the zero value.
func spread[T any](vals []T, marks []Mark, scans int) []T {
	if vals == nil || len(vals) == scans {
		return vals
	}
	out := slices.Grow(vals, scans-len(vals))[:scans]
	from, to := len(vals), scans
	for i := len(marks) - 1; i >= 0; i-- {
		m := &marks[i]
		if m.Quality < Bad {
			continue
		}
		end := m.First + m.Count
		n := to - end
		copy(out[end:to], out[from-n:from])
		clear(out[m.First:end]) // what is still to move stands before m.First
		from, to = from-n, m.First
	}
	return out
}

// Quality returns the quality of scan i and its reason.
func (c *Column) Quality(i int) (Quality, string) {
	if len(c.Marks) == 0 {
		return Good, ""
	}
	k := sort.Search(len(c.Marks), func(k int) bool { return c.Marks[k].First > i }) - 1
	if k < 0 || i >= c.Marks[k].First+c.Marks[k].Count {
		return Good, ""
	}
	return c.Marks[k].Quality, c.Marks[k].Reason
}

// markRun is consecutive scans of one point that are marked alike.
type markRun struct {
	first, count int
	code         int32 // reason<<2 | quality
}

// appendMarks writes the marks of one point behind those of the points before
// it, of which the last open belong to the point before. What is marked just
// like that point joins its marks. A column without values does not say which
// scans were just not read.
func appendMarks(marks []wireMark, open int, point uint32, runs []markRun, noValues bool) ([]wireMark, int) {
	var own []wireMark
	at := map[int32]int{} // by code, the mark in own that takes its runs
	for _, r := range runs {
		if noValues && r.code == int32(NotRead) {
			continue
		}
		i, ok := at[r.code]
		if !ok || len(own[i].Scans.ranges) == MaxRanges {
			i = len(own)
			at[r.code] = i
			own = append(own, wireMark{Point: point, Points: 1, Quality: Quality(r.code & 3), Reason: uint32(r.code >> 2)})
		}
		own[i].Scans.Add(uint64(r.first+1), uint64(r.first+r.count))
	}
	before := marks[len(marks)-open:]
	same := func(a, b wireMark) bool {
		return a.Point+a.Points == point && a.Quality == b.Quality && a.Reason == b.Reason && a.Scans.Equal(b.Scans)
	}
	if len(own) > 0 && slices.EqualFunc(before, own, same) {
		for i := range before {
			before[i].Points++
		}
		return marks, open
	}
	return append(marks, own...), len(own)
}
