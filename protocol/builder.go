package protocol

import (
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
	deltas []int64
	text   int // bytes of text gathered
	marks  int
}

// columnBuilder gathers one point's values: raw integers as long as all values
// have some, else the values themselves.
type columnBuilder struct {
	ints   []int64
	floats []float64
	texts  []string
	marks  []Mark
	any    bool // a scan has a value
	plain  bool // Float: floats is used, not ints
}

// NewBuilder returns a Builder for scans of s.
func NewBuilder(s *Schema) *Builder {
	b := &Builder{schema: s, cols: make([]columnBuilder, len(s.Points))}
	b.Reset()
	return b
}

// Reset drops what was gathered.
func (b *Builder) Reset() {
	b.scans, b.text, b.marks = 0, 0, 0
	b.times = b.times[:0]
	for i := range b.cols {
		c := &b.cols[i]
		c.ints, c.floats, c.texts, c.marks = c.ints[:0], c.floats[:0], c.texts[:0], c.marks[:0]
		c.any, c.plain = false, b.schema.Points[i].Kind == Float && b.schema.Points[i].Scale.none()
	}
}

// Schema returns the schema of the builder's scans.
func (b *Builder) Schema() *Schema { return b.schema }

// Scans returns the number of scans gathered.
func (b *Builder) Scans() int { return b.scans }

// Full reports whether another scan could take the message over a limit.
func (b *Builder) Full() bool {
	p := len(b.schema.Points)
	// The worst case of a scan: 9 bytes for each time and value, and a mark for each point.
	worst := (b.scans+1)*(9*len(b.schema.Groups)+9*p) + b.text + (b.marks+p)*24
	return (b.scans+1)*p > MaxReadings || worst > MaxMessage-2048 && b.estimate() > MaxMessage*3/4
}

// estimate bounds the size of the encoding from what the deltas will take.
func (b *Builder) estimate() int {
	n := b.text + b.marks*24 + sizeOfDeltas(b.times)
	for i := range b.cols {
		n += 8*len(b.cols[i].floats) + sizeOfDeltas(b.cols[i].ints)
	}
	return n
}

func sizeOfDeltas(v []int64) int {
	n, prev := 9, int64(0)
	for _, x := range v {
		switch d := x - prev; {
		case d >= -24 && d < 24:
			n++
		case d >= -256 && d < 256:
			n += 2
		case d >= -65536 && d < 65536:
			n += 3
		default:
			n += 9
		}
		prev = x
	}
	return n
}

// Add gathers one scan: a time for each group, in milliseconds since the Unix
// epoch, and a reading for each point. It keeps neither slice. A value of
// another kind than its point's is a bug of the caller and an error.
func (b *Builder) Add(times []int64, readings []Reading) error {
	if len(times) != len(b.schema.Groups) || len(readings) != len(b.schema.Points) {
		return fmt.Errorf("protocol: a scan of %d times and %d readings for a schema of %d groups and %d points",
			len(times), len(readings), len(b.schema.Groups), len(b.schema.Points))
	}
	for i := range readings {
		r := &readings[i]
		if r.Quality < Bad && r.Value.kind != b.schema.Points[i].Kind {
			return fmt.Errorf("protocol: a value of kind %d for point %s of kind %d", r.Value.kind, b.schema.Points[i].Name, b.schema.Points[i].Kind)
		}
		if len(r.Value.text) > MaxText {
			return fmt.Errorf("protocol: a text of %d bytes for point %s is over the limit of %d", len(r.Value.text), b.schema.Points[i].Name, MaxText)
		}
	}
	b.times = append(b.times, times...)
	for i := range readings {
		b.add(i, &readings[i])
	}
	b.scans++
	return nil
}

func (b *Builder) add(i int, r *Reading) {
	c, p := &b.cols[i], &b.schema.Points[i]
	if r.Quality != Good {
		c.mark(b.scans, r.Quality, r.Reason)
		b.marks = b.marks + 1
	}
	if r.Quality >= Bad {
		c.repeat(p)
		return
	}
	if !c.any { // scans before this one had no value: let them have this one's, for short deltas
		c.any = true
		defer c.backfill(b.scans, p)
	}
	switch {
	case p.Kind == Text:
		c.texts = append(c.texts, r.Value.text)
		b.text += len(r.Value.text) + 3
	case p.Kind != Float:
		c.ints = append(c.ints, r.Value.Int())
	default:
		c.addFloat(r.Value.Float(), p)
	}
}

func (c *columnBuilder) addFloat(f float64, p *Point) {
	if !c.plain {
		if raw, ok := p.Scale.raw(f); ok {
			c.ints = append(c.ints, raw)
			return
		}
		c.plain = true
		for _, raw := range c.ints {
			c.floats = append(c.floats, p.Scale.value(raw))
		}
		c.ints = c.ints[:0]
	}
	c.floats = append(c.floats, f)
}

// repeat takes the value before once more, for a scan that has none.
func (c *columnBuilder) repeat(p *Point) {
	switch {
	case p.Kind == Text:
		c.texts = append(c.texts, "")
	case c.plain:
		c.floats = append(c.floats, last(c.floats))
	default:
		c.ints = append(c.ints, last(c.ints))
	}
}

func last[T any](s []T) (v T) {
	if len(s) > 0 {
		v = s[len(s)-1]
	}
	return v
}

// backfill gives the n scans without a value before the first value that value.
func (c *columnBuilder) backfill(n int, p *Point) {
	for i := range n {
		switch {
		case p.Kind == Text:
		case c.plain:
			c.floats[i] = c.floats[n]
		default:
			c.ints[i] = c.ints[n]
		}
	}
}

func (c *columnBuilder) mark(scan int, q Quality, reason string) {
	if k := len(c.marks); k > 0 {
		m := &c.marks[k-1]
		if m.First+m.Count == scan && m.Quality == q && m.Reason == reason {
			m.Count++
			return
		}
	}
	c.marks = append(c.marks, Mark{scan, 1, q, reason})
}

// Body encodes what was gathered as the body of a message with the given time.
func (b *Builder) Body(msgTime int64) ([]byte, error) {
	if b.scans == 0 {
		return nil, fmt.Errorf("protocol: a telemetry message without a scan")
	}
	items := make([]any, 1, 1+len(b.cols))
	items[0] = b.ints(b.times, msgTime)
	w := wireTelemetry{Schema: b.schema.id[:], Scans: uint32(b.scans)}
	for i := range b.cols {
		items = append(items, b.column(i))
		for _, m := range b.cols[i].marks {
			w.Marks = append(w.Marks, wireMark{Point: uint32(i), First: uint32(m.First), Count: uint32(m.Count), Quality: m.Quality, Reason: m.Reason})
		}
	}
	var err error
	if w.Columns, err = Marshal(items); err != nil {
		return nil, fmt.Errorf("protocol: encode columns: %w", err)
	}
	return Marshal(w)
}

// ints is encodeInts with a buffer of its own for a form that keeps it.
func (b *Builder) ints(raw []int64, base int64) any {
	form, deltas := encodeInts(raw, base, b.deltas)
	if _, keeps := form.([]int64); keeps {
		b.deltas = nil
	} else {
		b.deltas = deltas
	}
	return form
}

func (b *Builder) column(i int) any {
	c, p := &b.cols[i], &b.schema.Points[i]
	switch {
	case !c.any:
		return nil
	case p.Kind == Text:
		for _, s := range c.texts {
			if s != c.texts[0] {
				return c.texts
			}
		}
		return c.texts[0]
	case c.plain:
		skip := func(scan int) bool { return c.quality(scan) >= Bad }
		return encodeFloats(c.floats, skip, &b.deltas)
	}
	return b.ints(c.ints, p.Base)
}

func (c *columnBuilder) quality(scan int) Quality {
	for _, m := range c.marks {
		if scan >= m.First && scan < m.First+m.Count {
			return m.Quality
		}
	}
	return Good
}

// AddTelemetry gathers scans from to (not included) of t, which must be of the
// builder's schema. It moves raw integers as they are.
func (b *Builder) AddTelemetry(t *Telemetry, from, to int) error {
	if t.Schema.id != b.schema.id {
		return fmt.Errorf("protocol: telemetry of schema %s for a builder of %s", t.Schema.id, b.schema.id)
	}
	g := len(t.Schema.Groups)
	b.times = append(b.times, t.Times[from*g:to*g]...)
	for i := range t.Columns {
		b.addColumn(i, &t.Columns[i], from, to)
	}
	b.scans += to - from
	return nil
}

func (b *Builder) addColumn(i int, col *Column, from, to int) {
	c, p := &b.cols[i], &b.schema.Points[i]
	fast := col.Marks == nil && col.Ints != nil && !c.plain && (c.any || b.scans == 0)
	if fast && (p.Kind != Float || col.scale == p.Scale) {
		c.any = true
		c.ints = append(c.ints, col.Ints[from:to]...)
		return
	}
	before := b.scans
	for s := from; s < to; s++ {
		r := col.Reading(s)
		b.add(i, &r)
		b.scans++
	}
	b.scans = before
}
