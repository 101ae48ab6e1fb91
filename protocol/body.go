package protocol

import "fmt"

// Body encodes what was gathered as the body of a message with the given time.
func (b *Builder) Body(msgTime int64) ([]byte, error) {
	if b.scans == 0 {
		return nil, fmt.Errorf("protocol: a telemetry message without a scan")
	}
	w := wireTelemetry{Schema: b.schema.id[:], Scans: uint32(b.scans), Reasons: b.reasons}
	b.columns.Reset()
	err := b.write(b.ints(b.times, msgTime))
	open := 0
	for i := range b.cols {
		c := &b.cols[i]
		form := b.column(i)
		if err == nil {
			err = b.write(form)
		}
		if err != nil {
			return nil, fmt.Errorf("protocol: encode the column of %s: %w", b.schema.Points[i].Name, err)
		}
		if open > 0 || len(c.runs) > 0 {
			w.Marks, open = appendMarks(w.Marks, open, uint32(i), c.runs, form == nil)
		}
	}
	if err := b.writeSingles(); err != nil {
		return nil, fmt.Errorf("protocol: encode columns: %w", err)
	}
	w.Columns = b.columns.Bytes()
	body, err := Marshal(&w)
	if err == nil && len(body) > MaxMessage-64 {
		return nil, refuse(ReasonTooLarge, "telemetry", "a body of %d bytes does not fit a message of %d", len(body), MaxMessage)
	}
	return body, err
}

// write appends a column. Single integers wait for others.
func (b *Builder) write(form any) error {
	if d, ok := form.(*int64); ok {
		b.singles = append(b.singles, *d)
		return nil
	}
	if err := b.writeSingles(); err != nil {
		return err
	}
	return encMode.MarshalToBuffer(form, &b.columns)
}

// writeSingles appends the integers that wait, encoded at once: as an array
// without its head.
func (b *Builder) writeSingles() error {
	if len(b.singles) == 0 {
		return nil
	}
	b.array.Reset()
	if err := encMode.MarshalToBuffer(b.singles, &b.array); err != nil {
		return err
	}
	b.array.Next(headSize(int64(len(b.singles))))
	b.columns.Write(b.array.Bytes())
	b.singles = b.singles[:0]
	return nil
}

// ints is encodeInts with the builder's buffer.
func (b *Builder) ints(raw []int64, base int64) any {
	if len(raw) == 1 {
		b.delta = raw[0] - base
		return &b.delta
	}
	form, free := encodeInts(raw, base, b.deltas)
	if free != nil {
		b.deltas = free
	}
	if d, ok := form.(int64); ok {
		b.delta = d
		return &b.delta // spares boxing
	}
	return form
}

func (b *Builder) column(i int) any {
	c, p := &b.cols[i], &b.schema.Points[i]
	switch {
	case len(c.texts) > 0:
		for _, s := range c.texts {
			if s != c.texts[0] {
				return c.texts
			}
		}
		return c.texts[0]
	case len(c.floats) > 0:
		return encodeFloats(c.floats, b.deltas)
	case len(c.ints) > 0:
		return b.ints(c.ints, p.Base)
	}
	return nil
}

// AddTelemetry gathers scans from to (not included) of t, which must be of the
// builder's schema. It moves raw integers as they are. Like [Builder.Add] it
// changes nothing and returns [ErrFull] if they do not fit behind what is
// there; an empty builder takes them all, and Body tells if they are too large.
func (b *Builder) AddTelemetry(t *Telemetry, from, to int) error {
	if t.Schema.id != b.schema.id {
		return fmt.Errorf("protocol: telemetry of schema %s for a builder of %s", t.Schema.id, b.schema.id)
	}
	g := len(t.Schema.Groups)
	times := t.Times[from*g : to*g]
	need := b.sizeOfTimes(times)
	for i := range t.Columns {
		need += b.boundColumn(i, &t.Columns[i], from, to)
	}
	if b.scans > 0 && ((b.scans+to-from)*len(b.cols) > MaxReadings || b.size+need > maxBody) {
		return ErrFull
	}
	b.size += b.sizeOfTimes(times)
	b.times = append(b.times, times...)
	first := b.scans
	for i := range t.Columns {
		b.scans = first
		if err := b.addColumn(i, &t.Columns[i], from, to); err != nil {
			return err
		}
	}
	b.scans = first + to - from
	return nil
}

// rawColumn reports whether column i can take col's raw integers as they are.
func (b *Builder) rawColumn(i int, col *Column) bool {
	return len(col.Marks) == 0 && col.Ints != nil && !b.cols[i].plain && (col.kind != Float || col.scale == b.schema.Points[i].Scale)
}

// boundColumn bounds what addColumn costs.
func (b *Builder) boundColumn(i int, col *Column, from, to int) (n int) {
	c := &b.cols[i]
	if b.rawColumn(i, col) {
		return sizeOfDeltas(col.Ints[from:to], c.prev)
	}
	n = 9*(to-from) + plainHead + 8*len(c.ints)
	if col.Texts != nil {
		for _, s := range col.Texts[from:to] {
			n += len(s)
		}
	}
	for _, m := range col.Marks {
		if m.First < to && m.First+m.Count > from {
			n += 24 + len(m.Reason)
		}
	}
	return n
}

func sizeOfDeltas(raw []int64, prev int64) (n int) {
	for _, v := range raw {
		n += headSize(v - prev)
		prev = v
	}
	return n
}

func (b *Builder) addColumn(i int, col *Column, from, to int) error {
	c := &b.cols[i]
	if b.rawColumn(i, col) {
		n := sizeOfDeltas(col.Ints[from:to], c.prev)
		c.ints = append(c.ints, col.Ints[from:to]...)
		c.prev = col.Ints[to-1]
		c.size += n
		b.size += n
		return nil
	}
	for s := from; s < to; s++ {
		r := col.Reading(s)
		if err := b.plan(i, &r); err != nil {
			return err
		}
		b.put(i, &r)
		b.size += b.cells[i].size
		b.scans++
	}
	return nil
}
