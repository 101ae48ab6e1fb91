package protocol

import (
	"encoding/binary"
	"math"
	"slices"
)

// Telemetry is the decoded body of a telemetry message.
type Telemetry struct {
	Schema *Schema
	Scans  int
	// Times holds, scan by scan, the time of each group of the schema, in
	// milliseconds since the Unix epoch by the clock of the message.
	Times []int64
	// Columns holds a column for each point of the schema.
	Columns []Column

	marked bool // some column has marks
}

// Column is the values of one point, one for each scan.
type Column struct {
	// Exactly one of these holds a value for each scan, or all are nil if no scan
	// has a value. Ints are the values of Int and Bool points, and the raw
	// integers of Float points that came by a scale.
	Ints   []int64
	Floats []float64
	Texts  []string
	// Marks are the scans whose quality is not good, in order; nil for the usual
	// case. Several columns may share them: do not change them.
	Marks []Mark

	kind  Kind
	scale Scale
}

// Value returns the value of scan i. It means nothing if the quality of scan i
// is Bad or NotRead.
func (c *Column) Value(i int) Value {
	switch {
	case c.Floats != nil:
		return FloatValue(c.Floats[i])
	case c.Texts != nil:
		return TextValue(c.Texts[i])
	case c.Ints == nil:
		return Value{kind: c.kind}
	case c.kind == Float:
		return FloatValue(c.scale.value(c.Ints[i]))
	case c.kind == Bool:
		return BoolValue(c.Ints[i] != 0)
	}
	return IntValue(c.Ints[i])
}

// Reading returns scan i of the column.
func (c *Column) Reading(i int) Reading {
	q, reason := c.Quality(i)
	if q >= Bad {
		return Reading{Quality: q, Reason: reason}
	}
	return Reading{Value: c.Value(i), Quality: q, Reason: reason}
}

// Kind returns the kind of the column's values.
func (c *Column) Kind() Kind { return c.kind }

// Time returns the time of point p in a scan.
func (t *Telemetry) Time(scan, p int) int64 {
	return t.Times[scan*len(t.Schema.Groups)+int(t.Schema.groupOf[p])]
}

// Readings returns how many readings t holds: all but those marked NotRead.
func (t *Telemetry) Readings() int {
	n := t.Scans * len(t.Columns)
	for i := range t.Columns {
		for _, m := range t.Columns[i].Marks {
			if m.Quality == NotRead {
				n -= m.Count
			}
		}
	}
	return n
}

type wireTelemetry struct {
	Schema  []byte     `cbor:"1,keyasint"`
	Scans   uint32     `cbor:"2,keyasint"`
	Columns []byte     `cbor:"3,keyasint"` // a CBOR sequence: times, then a column for each point
	Marks   []wireMark `cbor:"4,keyasint,omitempty"`
	Reasons []string   `cbor:"5,keyasint,omitempty"` // those that marks name
}

// wireSize is what tells how much a telemetry body holds.
type wireSize struct {
	Schema []byte `cbor:"1,keyasint"`
	Scans  uint32 `cbor:"2,keyasint"`
}

// SchemaOf returns which schema a telemetry message needs, without decoding
// its columns.
func (m *Message) SchemaOf() (SchemaID, error) {
	id, _, err := m.size()
	return id, err
}

func (m *Message) size() (SchemaID, int, error) {
	var w wireSize
	if err := Unmarshal(m.Body, &w); err != nil {
		return SchemaID{}, 0, at("telemetry", err)
	}
	id, err := schemaID(w.Schema)
	return id, int(w.Scans), err
}

func schemaID(b []byte) (id SchemaID, err error) {
	if copy(id[:], b) != len(id) || len(b) != len(id) {
		return id, refuse(ReasonMalformed, "telemetry", "a schema id of %d bytes, not %d", len(b), len(id))
	}
	return id, nil
}

// LookupSchema finds a schema by its id; nil if it is not known.
type LookupSchema func(SchemaID) *Schema

func (lookup LookupSchema) find(id SchemaID) (*Schema, error) {
	if s := lookup(id); s != nil {
		return s, nil
	}
	return nil, &Error{Reason: ReasonUnknownSchema, Where: "telemetry: schema " + id.String(), Err: ErrUnknownSchema}
}

// CheckReadings refuses messages whose telemetry holds more than
// MaxBundleReadings readings in all. It decodes no columns: who takes a bundle
// from outside calls it before anything that does. What names an unknown schema,
// or does not decode, counts nothing.
func CheckReadings(msgs []*Message, lookup LookupSchema) error {
	sum := 0
	for _, m := range msgs {
		if m.Type != TypeTelemetry {
			continue
		}
		id, scans, err := m.size()
		if err != nil || scans < 1 || scans > MaxReadings {
			continue
		}
		if s := lookup(id); s != nil {
			sum += scans * len(s.Points)
		}
		if sum > MaxBundleReadings {
			return refuse(ReasonTooLarge, "bundle", "more than %d readings", MaxBundleReadings)
		}
	}
	return nil
}

// Telemetry decodes the body of a telemetry message.
func (m *Message) Telemetry(lookup LookupSchema) (*Telemetry, error) {
	return m.TelemetryOf(lookup, nil)
}

// TelemetryOf is Telemetry for who needs some of the points: it decodes the
// columns of those, named by their place in the schema, that want reports true
// for. The others are passed over with less care, and their Columns mean nothing.
func (m *Message) TelemetryOf(lookup LookupSchema, want func(point int) bool) (*Telemetry, error) {
	var w wireTelemetry
	if err := Unmarshal(m.Body, &w); err != nil {
		return nil, at("telemetry", err)
	}
	id, err := schemaID(w.Schema)
	if err != nil {
		return nil, err
	}
	s, err := lookup.find(id)
	if err != nil {
		return nil, err
	}
	n := int(w.Scans)
	if n < 1 || n > MaxReadings || n*len(s.Points) > MaxReadings {
		return nil, refuse(ReasonTooLarge, "telemetry", "%d scans of %d points: not 1 to %d readings", n, len(s.Points), MaxReadings)
	}
	if err := m.checkParts(n); err != nil {
		return nil, err
	}
	t := &Telemetry{Schema: s, Scans: n, Columns: make([]Column, len(s.Points))}
	if err := t.placeMarks(w.Marks, w.Reasons); err != nil {
		return nil, at("telemetry", err)
	}
	if err := t.decodeColumns(w.Columns, m.Time, want); err != nil {
		return nil, at("telemetry", err)
	}
	return t, nil
}

func (m *Message) checkParts(scans int) error {
	if len(m.Parts) == 0 {
		return nil
	}
	sum := 0
	for _, p := range m.Parts {
		sum += p.Scans
	}
	if sum != scans {
		return refuse(ReasonMismatch, "telemetry", "parts of %d scans in all, for %d scans", sum, scans)
	}
	return nil
}

func (t *Telemetry) decodeColumns(data []byte, base int64, want func(point int) bool) (err error) {
	r := columnReader{rest: data}
	n := t.Scans * len(t.Schema.Groups)
	if t.Times, err = r.ints(base, n, n); err != nil {
		return at("times", err)
	}
	if want == nil && t.decodeSingles(r.rest) {
		return nil
	}
	plain := []Mark{{0, t.Scans, NotRead, ""}} // shared by all columns that it fits
	for i := range t.Columns {
		r.left = len(t.Columns) - i
		if want != nil {
			r.left = 1 // memory for the columns that follow may never be needed
		}
		if want != nil && !want(i) {
			if err := r.skip(); err != nil {
				return at("column of "+t.Schema.Points[i].Name, err)
			}
			continue
		}
		if err := t.decodeColumn(&r, i, plain[:1:1]); err != nil {
			return at("column of "+t.Schema.Points[i].Name, err)
		}
	}
	if len(r.rest) > 0 {
		return refuse(ReasonMismatch, "", "%d bytes behind the columns of %d points", len(r.rest), len(t.Columns))
	}
	return nil
}

// decodeSingles decodes the columns of a single scan of raw integers, which is
// what most messages are, at once: as one array with the same items. False: it
// is something else, or wrong, and nothing has changed.
func (t *Telemetry) decodeSingles(data []byte) bool {
	n := len(t.Columns)
	if t.Scans != 1 || !t.Schema.numbers || t.marked {
		return false
	}
	array := binary.BigEndian.AppendUint32(append(make([]byte, 0, 5+len(data)), cborArray32), uint32(n))
	raw := slices.Repeat([]int64{untouched}, n)
	if decMode.Unmarshal(append(array, data...), &raw) != nil {
		return false
	}
	for i := range raw {
		if raw[i] == untouched {
			return false
		}
		p := &t.Schema.Points[i]
		raw[i] += p.Base
		if p.Kind == Bool && raw[i]&^1 != 0 {
			return false
		}
	}
	for i := range t.Columns {
		c, p := &t.Columns[i], &t.Schema.Points[i]
		c.Ints, c.kind, c.scale = raw[i:i+1:i+1], p.Kind, p.Scale
	}
	return true
}

// untouched is what a null leaves of a number that it is decoded into. As a
// difference it is just as good as any other, only slower.
const untouched = math.MinInt64 + 0x5ca1ab1e

func (t *Telemetry) decodeColumn(r *columnReader, i int, plain []Mark) error {
	c, p := &t.Columns[i], &t.Schema.Points[i]
	if r.null() {
		c.kind = p.Kind
		return c.withoutValues(t.Scans, plain)
	}
	n := t.Scans - c.missing()
	if n == 0 {
		return refuse(ReasonMismatch, "", "values, and no scan that has one")
	}
	got, err := r.column(p, n, t.Scans)
	if err != nil {
		return err
	}
	c.kind, c.scale = p.Kind, got.scale
	c.Ints = spread(got.Ints, c.Marks, t.Scans)
	c.Floats = spread(got.Floats, c.Marks, t.Scans)
	c.Texts = spread(got.Texts, c.Marks, t.Scans)
	return nil
}

// Scans returns the schema and the number of scans of a telemetry message
// without decoding its columns. The number is as the body says it; only
// Telemetry checks it against the columns.
func (m *Message) Scans() (SchemaID, int, error) {
	id, scans, err := m.size()
	if err == nil && (scans < 1 || scans > MaxReadings) {
		err = refuse(ReasonTooLarge, "telemetry", "%d scans: not 1 to %d", scans, MaxReadings)
	}
	return id, scans, err
}
