package outbox

import (
	"math"

	"tidemark/protocol"
)

const minuteMs = 60_000

// minuteOf returns the minute that a time in milliseconds is in.
func minuteOf(ms int64) int64 {
	m := ms / minuteMs
	if ms%minuteMs < 0 {
		m--
	}
	return m
}

// minute is what is gathered of one minute of one schema.
type minute struct {
	times []int64 // by group: of its last reading
	seen  []bool  // by group
	cells []cell  // by point
}

// cell gathers the readings of one point in one minute.
//
// Good readings count; where there is none, uncertain ones do, and what comes
// of them is uncertain with the newest reason. With neither the minute is bad
// with the newest reason, or not read if nothing was. A NaN is no number: only
// the last value can be one, unless there are no others. Infinities are the
// least and the greatest; the mean with one of them is that one, with both NaN.
type cell struct {
	quality  protocol.Quality // the best so far
	reason   string
	last     protocol.Value
	any      bool // a number counted
	min, max protocol.Value
	n        float64 // finite numbers
	mean     float64 // of them
	inf      [2]bool // -Inf and +Inf were there
}

func newMinute(s *protocol.Schema) *minute {
	m := &minute{times: make([]int64, len(s.Groups)), seen: make([]bool, len(s.Groups)), cells: make([]cell, len(s.Points))}
	for i := range m.cells {
		m.cells[i].quality = protocol.NotRead
	}
	return m
}

// add takes a reading; false if there was none.
func (c *cell) add(r protocol.Reading) bool {
	if r.Quality == protocol.NotRead {
		return false
	}
	if r.Quality > c.quality {
		return true
	}
	if r.Quality < c.quality {
		*c = cell{quality: r.Quality}
	}
	c.reason = r.Reason
	if r.Quality < protocol.Bad {
		c.take(r.Value)
	}
	return true
}

func (c *cell) take(v protocol.Value) {
	c.last = v
	if v.Kind() > protocol.Int {
		return
	}
	f := v.Float()
	if math.IsNaN(f) {
		return
	}
	if !c.any || less(v, c.min) {
		c.min = v
	}
	if !c.any || less(c.max, v) {
		c.max = v
	}
	c.any = true
	switch {
	case math.IsInf(f, -1):
		c.inf[0] = true
	case math.IsInf(f, 1):
		c.inf[1] = true
	default:
		// Equal numbers have that number as their mean, to the bit, which a sum
		// would not give; two steps where one would overflow.
		c.n++
		if d := f - c.mean; !math.IsInf(d, 0) {
			c.mean += d / c.n
		} else {
			c.mean += f/c.n - c.mean/c.n
		}
	}
}

func less(a, b protocol.Value) bool {
	if a.Kind() == protocol.Int {
		return a.Int() < b.Int()
	}
	return a.Float() < b.Float()
}

// lastReading returns the last value, or why there is none.
func (c *cell) lastReading() protocol.Reading {
	return protocol.Reading{Value: c.last, Quality: c.quality, Reason: c.reason}
}

// aggregate returns the minimum, maximum or mean.
func (c *cell) aggregate(k int) protocol.Reading {
	r := c.lastReading()
	if c.quality >= protocol.Bad {
		return r
	}
	switch {
	case k == 2:
		r.Value = protocol.FloatValue(c.meanValue())
	case !c.any: // only NaN
	case k == 0:
		r.Value = c.min
	default:
		r.Value = c.max
	}
	return r
}

func (c *cell) meanValue() float64 {
	switch {
	case !c.any || c.inf[0] && c.inf[1]:
		return math.NaN()
	case c.inf[0]:
		return math.Inf(-1)
	case c.inf[1]:
		return math.Inf(1)
	}
	return min(max(c.mean, c.min.Float()), c.max.Float())
}
