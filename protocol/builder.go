package protocol

import (
	"bytes"
	"fmt"
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
	singles   []int64
	columns   bytes.Buffer
	array     bytes.Buffer
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
		c.ints, c.floats, c.texts, c.runs, c.codes = c.ints[:0], c.floats[:0], c.texts[:0], c.runs[:0], c.codes[:0]
		c.prev, c.size, c.plain = p.Base, 0, p.Kind == Float && p.Scale.none()
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
