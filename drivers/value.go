package drivers

import (
	"math"
	"time"
)

// Value is one value of any of the types. The zero Value is Float 0.
type Value struct {
	text string
	bits uint64
	typ  Type
}

// FloatValue returns f as a value.
func FloatValue(f float64) Value { return Value{bits: math.Float64bits(f), typ: Float} }

// IntValue returns i as a value.
func IntValue(i int64) Value { return Value{bits: uint64(i), typ: Int} }

// BoolValue returns b as a value.
func BoolValue(b bool) Value {
	v := Value{typ: Bool}
	if b {
		v.bits = 1
	}
	return v
}

// TextValue returns s as a value.
func TextValue(s string) Value { return Value{text: s, typ: Text} }

// Type returns the value's type.
func (v Value) Type() Type { return v.typ }

// Float returns a Float value's number.
func (v Value) Float() float64 { return math.Float64frombits(v.bits) }

// Int returns an Int value's number.
func (v Value) Int() int64 { return int64(v.bits) }

// Bool returns a Bool value's truth.
func (v Value) Bool() bool { return v.bits != 0 }

// Text returns a Text value's string.
func (v Value) Text() string { return v.text }

// Quality says how far a reading can be trusted.
type Quality uint8

// The qualities. NotRead is the state of a point that a poll did not touch; it
// makes no reading at all.
const (
	NotRead Quality = iota
	Good
	Uncertain
	Bad
)

// Reading is the outcome of one point in one poll.
type Reading struct {
	Value   Value // meaningless if Quality is NotRead or Bad
	Quality Quality
	Reason  string // machine-readable, for Uncertain and Bad
}

// Scan is the outcome of one poll.
type Scan struct {
	Times    []time.Time // one for each group
	Readings []Reading   // one for each point
}

// Reset clears s for a poll of spec.
func (s *Scan) Reset(spec *ScanSpec) {
	if len(s.Times) != len(spec.Groups) || len(s.Readings) != len(spec.Points) {
		s.Times = make([]time.Time, len(spec.Groups))
		s.Readings = make([]Reading, len(spec.Points))
		return
	}
	clear(s.Times)
	clear(s.Readings)
}

// Set records a good value of point i.
func (s *Scan) Set(i int, v Value) { s.Readings[i] = Reading{Value: v, Quality: Good} }

// Fail records that point i could not be read, and why. There is no value.
func (s *Scan) Fail(i int, reason string) { s.Readings[i] = Reading{Quality: Bad, Reason: reason} }
