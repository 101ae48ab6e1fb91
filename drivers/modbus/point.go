package modbus

import (
	"math"
	"math/bits"

	"github.com/aldas/go-modbus-client/packet"

	"tidemark/drivers"
	"tidemark/drivers/modbus/line"
)

// format is how registers make up a number.
type format struct {
	registers int
	signed    bool
	float     bool
}

var formats = map[string]format{
	"bool":    {registers: 1},
	"uint16":  {registers: 1},
	"int16":   {registers: 1, signed: true},
	"uint32":  {registers: 2},
	"int32":   {registers: 2, signed: true},
	"uint64":  {registers: 4},
	"int64":   {registers: 4, signed: true},
	"float32": {registers: 2, float: true},
	"float64": {registers: 4, float: true},
}

// point is a point made ready for reading. Two points that are equal are the
// same quantity, so point holds nothing but comparable values.
type point struct {
	kind    line.Kind
	address uint16
	size    int // registers, or 1 for coils

	format  format
	order   packet.ByteOrder
	swap    bool // little-endian bytes, for single registers
	low     int  // lowest bit of the field
	width   int  // bits of the field
	typ     drivers.Type
	scale   drivers.Scale // used if scaled and the format is an integer
	scaled  bool
	factor  float64 // used if scaled and the format is a float
	offset  float64
	hasNone bool
	none    uint64
}

// value takes the point out of registers, which begin at its own first one
// after skip others. The reason is empty if there is a value.
func (p *point) value(r *packet.Registers, skip uint16) (drivers.Value, string) {
	raw, err := p.raw(r, skip)
	if err != nil {
		return drivers.Value{}, drivers.ReasonProtocol
	}
	if p.format.float {
		f := math.Float64frombits(raw)
		if p.format.registers == 2 {
			f = float64(math.Float32frombits(uint32(raw)))
		}
		if math.IsNaN(f) {
			return drivers.Value{}, drivers.ReasonRange
		}
		if p.scaled {
			f = float64(f*p.factor) + p.offset
		}
		return drivers.FloatValue(f), ""
	}
	raw = raw >> p.low & mask(p.width)
	if p.hasNone && raw == p.none {
		return drivers.Value{}, drivers.ReasonRange
	}
	return p.integer(raw)
}

func (p *point) integer(raw uint64) (drivers.Value, string) {
	if p.typ == drivers.Bool {
		return drivers.BoolValue(raw != 0), ""
	}
	i := int64(raw)
	if p.format.signed {
		i = int64(raw<<(64-p.width)) >> (64 - p.width)
	}
	if p.typ == drivers.Float {
		f := float64(i)
		if !p.format.signed {
			f = float64(raw)
		}
		// The conversions keep the compiler from fusing the steps, which the
		// contract fixes one by one.
		f = float64(float64(f*p.scale.Num)/p.scale.Den) + p.scale.Offset
		return drivers.FloatValue(f), ""
	}
	if !p.format.signed && raw > math.MaxInt64 {
		return drivers.Value{}, drivers.ReasonRange
	}
	return drivers.IntValue(i), ""
}

// raw returns the point's registers as one number.
func (p *point) raw(r *packet.Registers, skip uint16) (uint64, error) {
	switch p.format.registers {
	case 1:
		v, err := r.Uint16(skip)
		if p.swap {
			v = bits.ReverseBytes16(v)
		}
		return uint64(v), err
	case 2:
		v, err := r.Uint32WithByteOrder(skip, p.order)
		return uint64(v), err
	}
	return r.Uint64WithByteOrder(skip, p.order)
}
