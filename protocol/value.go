package protocol

import "math"

// Kind is the type of a point's values.
type Kind uint8

// The kinds of values. The numbers stand in schemas.
const (
	Float Kind = 0 // IEEE 754 binary64
	Int   Kind = 1 // signed 64-bit
	Bool  Kind = 2
	Text  Kind = 3 // UTF-8, at most MaxText bytes
)

// Value is one value of any kind. The zero Value is Float 0. Two values are ==
// if they are of the same kind and the same to the bit, so a NaN equals itself
// and 0 differs from -0.
type Value struct {
	text string
	bits uint64
	kind Kind
}

// FloatValue returns f as a value.
func FloatValue(f float64) Value { return Value{bits: math.Float64bits(f), kind: Float} }

// IntValue returns i as a value.
func IntValue(i int64) Value { return Value{bits: uint64(i), kind: Int} }

// BoolValue returns b as a value.
func BoolValue(b bool) Value {
	v := Value{kind: Bool}
	if b {
		v.bits = 1
	}
	return v
}

// TextValue returns s as a value.
func TextValue(s string) Value { return Value{text: s, kind: Text} }

// Kind returns the value's kind.
func (v Value) Kind() Kind { return v.kind }

// Float returns the number of a Float; of an Int or Bool, its nearest float64.
func (v Value) Float() float64 {
	if v.kind == Float {
		return math.Float64frombits(v.bits)
	}
	return float64(int64(v.bits))
}

// Int returns the number of an Int, or 0 or 1 for a Bool.
func (v Value) Int() int64 { return int64(v.bits) }

// Bool returns the truth of a Bool.
func (v Value) Bool() bool { return v.bits != 0 }

// Text returns the string of a Text.
func (v Value) Text() string { return v.text }

// Any returns the value as float64, int64, bool or string.
func (v Value) Any() any {
	switch v.kind {
	case Int:
		return v.Int()
	case Bool:
		return v.Bool()
	case Text:
		return v.text
	}
	return v.Float()
}

// Quality says how far a reading can be trusted (the words of OPC UA).
type Quality uint8

// The qualities. Their numbers stand in telemetry marks.
const (
	Good      Quality = 0
	Uncertain Quality = 1 // there is a value, with a doubt that the reason names
	Bad       Quality = 2 // there is no value; the reason says why
	// NotRead says that a scan has no reading of the point at all: not polled,
	// or inside its deadband.
	NotRead Quality = 3
)

func (q Quality) String() string {
	switch q {
	case Good:
		return "good"
	case Uncertain:
		return "uncertain"
	case Bad:
		return "bad"
	}
	return "not_read"
}

// Reading is one point's value and quality in one scan.
type Reading struct {
	Value   Value // meaningless if Quality is Bad or NotRead
	Quality Quality
	Reason  string // machine-readable, for Uncertain and Bad
}
