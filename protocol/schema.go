package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
)

// Schema names the points of a scan, in reading order. It is sent once; a
// telemetry message names it by its ID.
type Schema struct {
	// Points in reading order.
	Points []Point
	// Groups are the sizes of the runs of consecutive points that share one
	// time. They add up to len(Points).
	Groups []int

	id      SchemaID
	encoded []byte
	groupOf []uint16 // by point
	numbers bool     // every point can travel as raw integers
}

// Point is one point of a schema.
type Point struct {
	Name  string // device.point
	Unit  string // RFC 8428 section 12.1, or empty
	Kind  Kind
	Scale Scale // for Float only
	// Base is what the first raw integer of a column is a delta to. A base near
	// the point's usual value makes a message of a single scan shorter.
	Base int64
}

// Scale is how a Float point's values come from raw integers:
// value = raw*Num/Den + Offset, each step rounded to float64, in that order.
// A column whose values it does not give to the bit travels as floats. The
// zero Scale says that no transform is known.
type Scale struct {
	Num, Den, Offset float64
	// Float32 says that the low 32 bits of a raw integer, in two's complement,
	// are an IEEE 754 binary32 value; the other fields are then 0.
	Float32 bool
}

// maxExact is the largest integer up to which float64 holds every integer.
const maxExact = 1 << 53

func (s Scale) none() bool { return s == Scale{} }

// value returns the float that raw stands for.
func (s Scale) value(raw int64) float64 {
	if s.Float32 {
		return widen(uint32(raw))
	}
	// The conversions forbid the compiler to fuse the steps (Go spec,
	// "Floating-point operators"), which would give other bits elsewhere.
	return float64(float64(float64(raw)*s.Num)/s.Den) + s.Offset
}

// raw returns the integer that stands for f, and whether it does to the bit.
func (s Scale) raw(f float64) (int64, bool) {
	if s.Float32 {
		bits := math.Float64bits(f)
		narrow := math.Float32bits(float32(f))
		if f != f { // widen's inverse; a conversion would change a signalling NaN
			narrow = uint32(bits>>32)&(1<<31) | 0xff<<23 | uint32(bits>>29)&(1<<23-1)
		}
		return int64(int32(narrow)), math.Float64bits(widen(narrow)) == bits
	}
	r := math.RoundToEven((f - s.Offset) * s.Den / s.Num)
	if !(math.Abs(r) <= maxExact) { // also refuses NaN
		return 0, false
	}
	raw := int64(r)
	return raw, math.Float64bits(s.value(raw)) == math.Float64bits(f)
}

// widen returns the float64 of a binary32. A NaN keeps its sign and payload on
// every machine: what a conversion does to them is left to the hardware.
func widen(bits uint32) float64 {
	f := math.Float32frombits(bits)
	if f != f {
		return math.Float64frombits(uint64(bits>>31)<<63 | 0x7ff<<52 | uint64(bits&(1<<23-1))<<29)
	}
	return float64(f)
}

func (s Scale) valid() bool {
	if s.none() {
		return true
	}
	if s.Float32 {
		return s == Scale{Float32: true}
	}
	finite := func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
	return finite(s.Num) && finite(s.Den) && finite(s.Offset) && s.Num != 0 && s.Den != 0
}

// SchemaID is the first 8 bytes of the SHA-256 of a schema's encoding.
type SchemaID [8]byte

func (id SchemaID) String() string { return hex.EncodeToString(id[:]) }

type wireSchema struct {
	Points []wirePoint `cbor:"1,keyasint"`
	Groups []uint16    `cbor:"2,keyasint,omitempty"` // absent: one group
}

type wirePoint struct {
	Name  string    `cbor:"1,keyasint"`
	Unit  string    `cbor:"2,keyasint,omitempty"`
	Kind  Kind      `cbor:"3,keyasint,omitempty"`
	Scale []float64 `cbor:"4,keyasint,omitempty"` // num, den, offset
	F32   bool      `cbor:"5,keyasint,omitempty"`
	Base  int64     `cbor:"6,keyasint,omitempty"`
}

// NewSchema checks and encodes a schema. The caller must not change points or
// groups afterwards. Nil groups are one group.
func NewSchema(points []Point, groups []int) (*Schema, error) {
	if groups == nil {
		groups = []int{len(points)}
	}
	s := &Schema{Points: points, Groups: groups}
	w := wireSchema{Points: make([]wirePoint, len(points))}
	for i, p := range points {
		w.Points[i] = wirePoint{Name: p.Name, Unit: p.Unit, Kind: p.Kind, F32: p.Scale.Float32, Base: p.Base}
		if !p.Scale.none() && !p.Scale.Float32 {
			w.Points[i].Scale = []float64{p.Scale.Num, p.Scale.Den, p.Scale.Offset}
		}
	}
	if len(groups) > 1 {
		for _, g := range groups {
			w.Groups = append(w.Groups, uint16(min(max(g, 0), math.MaxUint16)))
		}
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	var err error
	if s.encoded, err = Marshal(w); err != nil {
		return nil, at("schema", err)
	}
	if len(s.encoded) > MaxSchema {
		return nil, refuse(ReasonTooLarge, "schema", "%d bytes are over the limit of %d", len(s.encoded), MaxSchema)
	}
	if n := len(s.encoded); n > MaxPayload-64 {
		if n = len(zstdEncoder().EncodeAll(s.encoded, nil)); n > MaxPayload-64 {
			return nil, refuse(ReasonTooLarge, "schema", "%d bytes, %d when compressed, do not fit a bundle of %d: use fewer points", len(s.encoded), n, MaxPayload)
		}
	}
	s.id = idOf(s.encoded)
	return s, nil
}

func idOf(encoded []byte) (id SchemaID) {
	sum := sha256.Sum256(encoded)
	copy(id[:], sum[:])
	return id
}

// DecodeSchema reads a schema from its encoding.
func DecodeSchema(data []byte) (*Schema, error) {
	if len(data) > MaxSchema {
		return nil, refuse(ReasonTooLarge, "schema", "%d bytes are over the limit of %d", len(data), MaxSchema)
	}
	var w wireSchema
	if err := Unmarshal(data, &w); err != nil {
		return nil, at("schema", err)
	}
	if len(w.Points) > MaxPoints || len(w.Groups) > MaxPoints {
		return nil, refuse(ReasonTooLarge, "schema", "%d points are over the limit of %d", len(w.Points), MaxPoints)
	}
	s := &Schema{Points: make([]Point, len(w.Points)), encoded: append([]byte(nil), data...), id: idOf(data)}
	for i, p := range w.Points {
		s.Points[i] = Point{Name: p.Name, Unit: p.Unit, Kind: p.Kind, Base: p.Base}
		switch {
		case p.F32 && p.Scale == nil:
			s.Points[i].Scale.Float32 = true
		case !p.F32 && len(p.Scale) == 3:
			s.Points[i].Scale = Scale{Num: p.Scale[0], Den: p.Scale[1], Offset: p.Scale[2]}
		case p.F32 || p.Scale != nil:
			return nil, refuse(ReasonMismatch, "schema", "point %d: its scale is not three numbers, or is given twice", i)
		}
	}
	for _, g := range w.Groups {
		s.Groups = append(s.Groups, int(g))
	}
	if w.Groups == nil {
		s.Groups = []int{len(s.Points)}
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Schema) check() error {
	if len(s.Points) == 0 {
		return refuse(ReasonMismatch, "schema", "no points")
	}
	if len(s.Points) > MaxPoints || len(s.Groups) > MaxPoints {
		return refuse(ReasonTooLarge, "schema", "%d points are over the limit of %d", max(len(s.Points), len(s.Groups)), MaxPoints)
	}
	seen := make(map[string]bool, len(s.Points))
	s.numbers = true
	for i, p := range s.Points {
		switch {
		case !ValidPointName(p.Name):
			return refuse(ReasonName, "schema", "point %d: %.140q is not a name of the form device.point", i, p.Name)
		case seen[p.Name]:
			return refuse(ReasonMismatch, "schema", "point %d: %s stands twice", i, p.Name)
		case p.Kind > Text:
			return refuse(ReasonMismatch, "schema", "point %d: kind %d is not known", i, p.Kind)
		case len(p.Unit) > 64:
			return refuse(ReasonTooLarge, "schema", "point %d: a unit of %d bytes", i, len(p.Unit))
		case !p.Scale.valid() || !p.Scale.none() && p.Kind != Float:
			return refuse(ReasonMismatch, "schema", "point %d: its scale is not finite, is zero, or stands at a point that is no float", i)
		}
		seen[p.Name] = true
		s.numbers = s.numbers && p.Kind != Text && (p.Kind != Float || !p.Scale.none())
	}
	return s.checkGroups()
}

func (s *Schema) checkGroups() error {
	s.groupOf = make([]uint16, 0, len(s.Points))
	for i, g := range s.Groups {
		if g <= 0 || g > len(s.Points)-len(s.groupOf) {
			return refuse(ReasonMismatch, "schema", "group %d of %d points, with %d of %d points left", i, g, len(s.Points)-len(s.groupOf), len(s.Points))
		}
		for range g {
			s.groupOf = append(s.groupOf, uint16(i))
		}
	}
	if len(s.groupOf) != len(s.Points) {
		return refuse(ReasonMismatch, "schema", "groups of %d points in all, for %d points", len(s.groupOf), len(s.Points))
	}
	return nil
}

// ID returns the schema's content address.
func (s *Schema) ID() SchemaID { return s.id }

// Encoded returns the schema's encoding. The caller must not change it.
func (s *Schema) Encoded() []byte { return s.encoded }

// Message returns the unnumbered message that carries the schema in a bundle.
func (s *Schema) Message() *Message { return &Message{Type: TypeSchema, Body: s.encoded} }

// Raw returns the integer that stands for f under s; false if s is none, or
// gives f back other than to the bit.
func (s Scale) Raw(f float64) (int64, bool) {
	if s.none() {
		return 0, false
	}
	return s.raw(f)
}

// IDOf returns the id that an encoded schema has, whether it is valid or not.
func IDOf(encoded []byte) SchemaID { return idOf(encoded) }
