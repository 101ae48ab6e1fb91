package protocol

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Builder gathers scans of one schema into the body of a telemetry message.
// Its buffers are reused from message to message. It is not safe for
// concurrent use.
type Builder struct {
	schema *Schema
	scans  int
	times  []int64
	cols   []columnBuilder
	size   int // bounds the size of the body

	reasons   []string
	reasonIDs map[string]int32
	cells     []cell
	deltas    []int64
	delta     int64
	columns   bytes.Buffer
}

// columnBuilder gathers one point's values, those that there are: raw integers
// as long as all values have some, else the values themselves.
type columnBuilder struct {
	ints   []int64
	floats []float64
	texts  []string
	runs   []markRun
	codes  []int32 // of the runs
	prev   int64   // the last raw integer, or the base
	size   int     // of the values
	plain  bool    // Float: floats is used, not ints
}

// cell is what Add finds out about a reading before it takes it.
type cell struct {
	raw   int64
	code  int32 // of its mark, 0 if it is good
	value cellValue
	size  int
}

type cellValue uint8

const (
	noValue cellValue = iota
	rawValue
	floatValue
	textValue
)

const (
	// maxBody leaves room for the rest of a message. Parts count on their own.
	maxBody = MaxMessage - 1024
	// bodyHead and columnHead bound what a body and a column take beside values.
	bodyHead   = 64
	columnHead = 3
	// plainHead bounds what tag and length of a typed array take beyond that.
	plainHead = 4
)

// The reasons of readings that the builder itself makes bad.
const (
	ReasonBadText  = "bad_text"  // a text that is not UTF-8
	ReasonLongText = "long_text" // a text of more than MaxText bytes
)

// NewBuilder returns a Builder for scans of s.
func NewBuilder(s *Schema) *Builder {
	b := &Builder{schema: s, cols: make([]columnBuilder, len(s.Points)), cells: make([]cell, len(s.Points)), reasonIDs: map[string]int32{}}
	b.Reset()
	return b
}

// Reset drops what was gathered.
func (b *Builder) Reset() {
	b.scans, b.times, b.size = 0, b.times[:0], bodyHead+columnHead*len(b.cols)
	b.reasons = b.reasons[:0]
	clear(b.reasonIDs)
	for i := range b.cols {
		c, p := &b.cols[i], &b.schema.Points[i]
		clear(c.texts) // lets the strings go
		*c = columnBuilder{ints: c.ints[:0], floats: c.floats[:0], texts: c.texts[:0], runs: c.runs[:0], codes: c.codes[:0],
			prev: p.Base, plain: p.Kind == Float && p.Scale.none()}
	}
}

// Schema returns the schema of the builder's scans.
func (b *Builder) Schema() *Schema { return b.schema }

// Scans returns the number of scans gathered.
func (b *Builder) Scans() int { return b.scans }

// Full reports whether the next scan of numbers might not fit. Add is what
// keeps the limits: it may say [ErrFull] for a scan of texts or of many bad
// readings though Full did not.
func (b *Builder) Full() bool {
	worst := 9 * (len(b.schema.Groups) + len(b.schema.Points))
	return b.scans > 0 && ((b.scans+1)*len(b.schema.Points) > MaxReadings || b.size+min(worst, maxBody/4) > maxBody)
}

// Add gathers one scan: a time for each group, in milliseconds since the Unix
// epoch, and a reading for each point. It keeps neither slice.
//
// If the scan would take the message over a limit, Add changes nothing and
// returns [ErrFull]: the caller takes the Body, resets, and adds the scan
// again. Only a scan that no message can hold is another error, which names
// the point that takes most of it; that takes long texts, or thousands of
// points with different marks.
//
// A text that is too long or no UTF-8 becomes a bad reading that says so. A
// value of another kind than its point's is a bug of the caller and an error.
func (b *Builder) Add(times []int64, readings []Reading) error {
	if len(times) != len(b.schema.Groups) || len(readings) != len(b.schema.Points) {
		return fmt.Errorf("protocol: a scan of %d times and %d readings for a schema of %d groups and %d points",
			len(times), len(readings), len(b.schema.Groups), len(b.schema.Points))
	}
	need := b.sizeOfTimes(times)
	for i := range readings {
		if err := b.plan(i, &readings[i]); err != nil {
			return err
		}
		need += b.cells[i].size
	}
	if b.scans > 0 && ((b.scans+1)*len(readings) > MaxReadings || b.size+need > maxBody) {
		return ErrFull
	}
	if b.size+need > maxBody {
		b.Reset()
		return b.tooLarge(need)
	}
	b.times = append(b.times, times...)
	for i := range readings {
		b.put(i, &readings[i])
	}
	b.size += need
	b.scans++
	return nil
}

// tooLarge says which point takes most of a scan that no message can hold.
func (b *Builder) tooLarge(need int) error {
	most := 0
	for i := range b.cells {
		if b.cells[i].size > b.cells[most].size {
			most = i
		}
	}
	return fmt.Errorf("protocol: a scan of %d bytes does not fit a message of %d: point %s alone takes %d; put fewer points into one schema",
		need, maxBody, b.schema.Points[most].Name, b.cells[most].size)
}

func (b *Builder) sizeOfTimes(times []int64) (n int) {
	if len(b.times) == 0 {
		n = 9 // the distance of the first from the message's time is not known yet
	}
	prev := last(b.times, times[0])
	for _, t := range times {
		n += headSize(t - prev)
		prev = t
	}
	return n
}

func last(s []int64, otherwise int64) int64 {
	if len(s) > 0 {
		return s[len(s)-1]
	}
	return otherwise
}

// plan finds the cell of a reading: how it is stored, and what that costs.
func (b *Builder) plan(i int, r *Reading) error {
	c, p := &b.cols[i], &b.schema.Points[i]
	l := &b.cells[i]
	*l = cell{}
	q, reason := r.Quality, r.Reason
	if q < Bad {
		if r.Value.kind != p.Kind {
			return fmt.Errorf("protocol: a value of kind %d for point %s of kind %d", r.Value.kind, p.Name, p.Kind)
		}
		if why := c.planValue(p, r, l); why != "" {
			*l = cell{}
			q, reason = Bad, why
		}
	}
	if q == Good {
		return nil
	}
	if q > NotRead {
		return fmt.Errorf("protocol: quality %d for point %s", q, p.Name)
	}
	l.code = b.reason(reason)<<2 | int32(q)
	l.size += c.markSize(b.scans, l.code)
	return nil
}

func (c *columnBuilder) planValue(p *Point, r *Reading, l *cell) (why string) {
	switch p.Kind {
	case Text:
		s := r.Value.text
		if len(s) > MaxText {
			return ReasonLongText
		}
		if !utf8.ValidString(s) {
			return ReasonBadText
		}
		l.value, l.size = textValue, len(s)+headSize(int64(len(s)))
		return ""
	case Float:
		ok := false
		if !c.plain {
			l.raw, ok = p.Scale.raw(r.Value.Float())
		}
		if !ok {
			l.value, l.size = floatValue, 8
			if !c.plain || len(c.floats) == 0 {
				l.size += plainHead + 8*len(c.ints) - c.size
			}
			return ""
		}
	default:
		l.raw = r.Value.Int()
	}
	l.value, l.size = rawValue, headSize(l.raw-c.prev)
	return ""
}

// reason returns the index of a reason, from 1; 0 is none.
func (b *Builder) reason(s string) int32 {
	if s == "" {
		return 0
	}
	if id, ok := b.reasonIDs[s]; ok {
		return id
	}
	clean := strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
	b.reasons = append(b.reasons, clean)
	b.size += len(clean) + 2 // it stays even if the scan does not fit
	b.reasonIDs[s] = int32(len(b.reasons))
	return int32(len(b.reasons))
}

func (c *columnBuilder) markSize(scan int, code int32) int {
	if k := len(c.runs); k > 0 {
		if r := c.runs[k-1]; r.code == code && r.first+r.count == scan {
			return headSize(int64(r.count)) - headSize(int64(r.count-1))
		}
	}
	n := headSize(int64(scan+1)) + 1
	for _, known := range c.codes[max(0, len(c.codes)-8):] {
		if known == code {
			return n
		}
	}
	return n + 10 + headSize(int64(code>>2))
}

// put takes the reading whose cell is planned.
func (b *Builder) put(i int, r *Reading) {
	c, l := &b.cols[i], &b.cells[i]
	if l.code != 0 {
		c.mark(b.scans, l.code)
	}
	switch l.value {
	case rawValue:
		c.ints = append(c.ints, l.raw)
		c.prev = l.raw
	case textValue:
		c.texts = append(c.texts, r.Value.text)
	case floatValue:
		if !c.plain {
			c.plain = true
			for _, raw := range c.ints {
				c.floats = append(c.floats, b.schema.Points[i].Scale.value(raw))
			}
			c.ints = c.ints[:0]
		}
		c.floats = append(c.floats, r.Value.Float())
	default:
		return
	}
	c.size += l.size
}

func (c *columnBuilder) mark(scan int, code int32) {
	if k := len(c.runs); k > 0 {
		r := &c.runs[k-1]
		if r.code == code && r.first+r.count == scan {
			r.count++
			return
		}
	}
	c.runs = append(c.runs, markRun{scan, 1, code})
	for _, known := range c.codes[max(0, len(c.codes)-8):] {
		if known == code {
			return
		}
	}
	c.codes = append(c.codes, code)
}
