package protocol

import (
	"slices"

	"github.com/fxamacker/cbor/v2"
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
}

// Column is the values of one point, one for each scan.
type Column struct {
	// Exactly one of these holds a value for each scan, or all are nil if no scan
	// has a value. Ints are the values of Int and Bool points, and the raw
	// integers of Float points that came by a scale.
	Ints   []int64
	Floats []float64
	Texts  []string
	// Marks are the scans whose quality is not good; nil for the usual case.
	Marks []Mark

	kind  Kind
	scale Scale
}

// Mark says that consecutive scans of a column are not good.
type Mark struct {
	First, Count int // scans
	Quality      Quality
	Reason       string
}

// Quality returns the quality of scan i and its reason.
func (c *Column) Quality(i int) (Quality, string) {
	for _, m := range c.Marks {
		if i >= m.First && i < m.First+m.Count {
			return m.Quality, m.Reason
		}
	}
	return Good, ""
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
	return t.Times[scan*len(t.Schema.Groups)+t.Schema.group(p)]
}

// group returns the group that point p stands in.
func (s *Schema) group(p int) int {
	if len(s.Groups) == len(s.Points) {
		return p
	}
	for g, n := range s.Groups {
		if p -= n; p < 0 {
			return g
		}
	}
	return len(s.Groups) - 1
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
	Columns []byte     `cbor:"3,keyasint"` // an encoded array: times, then a column for each point
	Marks   []wireMark `cbor:"4,keyasint,omitempty"`
}

type wireMark struct {
	_       struct{} `cbor:",toarray"`
	Point   uint32
	First   uint32
	Count   uint32
	Quality Quality
	Reason  string
}

// SchemaOf returns which schema a telemetry message needs, without decoding
// its columns.
func (m *Message) SchemaOf() (SchemaID, error) {
	var w wireTelemetry
	if err := Unmarshal(m.Body, &w); err != nil {
		return SchemaID{}, at("telemetry", err)
	}
	return schemaID(w.Schema)
}

func schemaID(b []byte) (id SchemaID, err error) {
	if copy(id[:], b) != len(id) || len(b) != len(id) {
		return id, refuse(ReasonMalformed, "telemetry", "a schema id of %d bytes, not %d", len(b), len(id))
	}
	return id, nil
}

// LookupSchema finds a schema by its id; nil if it is not known.
type LookupSchema func(SchemaID) *Schema

// Telemetry decodes the body of a telemetry message. It allocates at most
// 16 bytes for each of MaxReadings readings beside 64 times the body.
func (m *Message) Telemetry(lookup LookupSchema) (*Telemetry, error) {
	var w wireTelemetry
	if err := Unmarshal(m.Body, &w); err != nil {
		return nil, at("telemetry", err)
	}
	id, err := schemaID(w.Schema)
	if err != nil {
		return nil, err
	}
	s := lookup(id)
	if s == nil {
		return nil, &Error{Reason: ReasonUnknownSchema, Where: "telemetry: schema " + id.String(), Err: ErrUnknownSchema}
	}
	n := int(w.Scans)
	if n < 1 || n > MaxReadings || n*len(s.Points) > MaxReadings {
		return nil, refuse(ReasonTooLarge, "telemetry", "%d scans of %d points: not 1 to %d readings", n, len(s.Points), MaxReadings)
	}
	if err := m.checkParts(n); err != nil {
		return nil, err
	}
	t := &Telemetry{Schema: s, Scans: n, Columns: make([]Column, len(s.Points))}
	if err := t.decodeColumns(w.Columns, m.Time); err != nil {
		return nil, at("telemetry", err)
	}
	if err := t.placeMarks(w.Marks); err != nil {
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

func (t *Telemetry) decodeColumns(data []byte, base int64) error {
	var raws []cbor.RawMessage
	if err := columnMode.Unmarshal(data, &raws); err != nil {
		return err
	}
	if len(raws) != 1+len(t.Columns) {
		return refuse(ReasonMismatch, "", "%d columns for %d points", len(raws)-1, len(t.Columns))
	}
	var err error
	if t.Times, err = decodeInts(raws[0], base, t.Scans*len(t.Schema.Groups)); err != nil {
		return at("times", err)
	}
	for i, raw := range raws[1:] {
		p := &t.Schema.Points[i]
		if t.Columns[i], err = decodeColumn(raw, p, t.Scans); err != nil {
			return at("column of "+p.Name, err)
		}
		t.Columns[i].kind = p.Kind
	}
	return nil
}

const cborNull = 0xf6

func decodeColumn(data []byte, p *Point, n int) (c Column, err error) {
	if len(data) == 1 && data[0] == cborNull {
		return Column{}, nil
	}
	switch p.Kind {
	case Float:
		return decodeFloats(data, p, n)
	case Text:
		c.Texts, err = decodeTexts(data, n)
		return c, err
	case Bool:
		if c.Ints, err = decodeInts(data, p.Base, n); err != nil {
			return c, err
		}
		if slices.ContainsFunc(c.Ints, func(v int64) bool { return v != 0 && v != 1 }) {
			return c, refuse(ReasonMismatch, "", "a truth value other than 0 and 1")
		}
		return c, nil
	}
	c.Ints, err = decodeInts(data, p.Base, n)
	return c, err
}

func (t *Telemetry) placeMarks(marks []wireMark) error {
	if len(marks) > MaxReadings {
		return refuse(ReasonTooLarge, "", "%d marks", len(marks))
	}
	for _, m := range marks {
		if int(m.Point) >= len(t.Columns) || int64(m.First)+int64(m.Count) > int64(t.Scans) || m.Count == 0 ||
			m.Quality < Uncertain || m.Quality > NotRead || len(m.Reason) > 64 {
			return refuse(ReasonMismatch, "", "a mark that names no such point, scan or quality")
		}
		c := &t.Columns[m.Point]
		if k := len(c.Marks); k > 0 && int(m.First) < c.Marks[k-1].First+c.Marks[k-1].Count {
			return refuse(ReasonMismatch, "", "marks of point %d overlap or are out of order", m.Point)
		}
		c.Marks = append(c.Marks, Mark{int(m.First), int(m.Count), m.Quality, m.Reason})
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		if c.Ints == nil && c.Floats == nil && c.Texts == nil && !c.allWithoutValue(t.Scans) {
			return refuse(ReasonMismatch, "", "point %d has no values, and a scan that is not marked bad or not read", i)
		}
	}
	return nil
}

func (c *Column) allWithoutValue(n int) bool {
	next := 0
	for _, m := range c.Marks {
		if m.First != next || m.Quality < Bad {
			return false
		}
		next += m.Count
	}
	return next == n
}
