package modbus

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/aldas/go-modbus-client/packet"

	"tidemark/drivers"
	"tidemark/drivers/modbus/line"
)

// compile makes a point ready, or returns every mistake.
func (c *PointConfig) compile(d *DeviceConfig) (point, error) {
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, drivers.Fieldf(field, format, args...)) }
	k, address, field, err := c.register()
	if err != nil {
		errs = append(errs, err)
	}
	if c.WordOrder != "" {
		errs = append(errs, checkOrder("word_order", c.WordOrder))
	}
	if c.ByteOrder != "" {
		errs = append(errs, checkOrder("byte_order", c.ByteOrder))
	}
	name := c.Type
	if name == "" {
		name = "uint16"
		if k.IsBit() {
			name = "bool"
		}
	}
	f, ok := formats[name]
	if !ok {
		bad("type", "%q is not one of uint16, int16, uint32, int32, uint64, int64, float32, float64, bool", c.Type)
		return point{}, errors.Join(errs...)
	}
	p := point{kind: k, address: uint16(address), size: f.registers, format: f, width: 16 * f.registers}
	if field != "" && !k.IsBit() && address+f.registers > 65536 {
		bad(field, "%s at %d needs %d registers, but the last one is 65535", name, address, f.registers)
	}
	if k.IsBit() {
		c.refuseOnBits(k, name, bad)
		p.size, p.width = 1, 1
	}
	p.order, p.swap = c.byteOrder(d)
	c.compileField(&p, name, bad)
	c.compileValue(&p, name, bad)
	return p, errors.Join(errs...)
}

// report notes a mistake in a field.
type report func(field, format string, args ...any)

// refuseOnBits refuses what makes no sense for a coil or discrete input.
func (c *PointConfig) refuseOnBits(k line.Kind, name string, bad report) {
	if name != "bool" {
		bad("type", "a %s is one bit: leave out type, or say bool", k)
	}
	for _, f := range []struct {
		field string
		given bool
	}{
		{"bit", c.Bit != nil}, {"bits", c.Bits != ""}, {"word_order", c.WordOrder != ""}, {"byte_order", c.ByteOrder != ""},
	} {
		if f.given {
			bad(f.field, "a %s is one bit and has no %s", k, f.field)
		}
	}
}

// byteOrder returns the codec's name for the point's order, and whether the
// bytes of a single register are swapped. The codec reverses all bytes for its
// little-endian orders, hence the words that seem to stand the wrong way round.
func (c *PointConfig) byteOrder(d *DeviceConfig) (packet.ByteOrder, bool) {
	words, bytes := c.WordOrder, c.ByteOrder
	if words == "" {
		words = d.WordOrder
	}
	if bytes == "" {
		bytes = d.ByteOrder
	}
	switch {
	case bytes == little && words == little:
		return packet.LittleEndianHighWordFirst, true
	case bytes == little:
		return packet.LittleEndianLowWordFirst, true
	case words == little:
		return packet.BigEndianLowWordFirst, false
	}
	return packet.BigEndianHighWordFirst, false
}

// compileField takes bit and bits.
func (c *PointConfig) compileField(p *point, name string, bad report) {
	if p.kind.IsBit() || c.Bit == nil && c.Bits == "" {
		return
	}
	field := "bit"
	var low, high int
	if c.Bit != nil {
		low, high = *c.Bit, *c.Bit
	} else {
		var err error
		field = "bits"
		if low, high, err = bitRange(c.Bits); err != nil {
			bad(field, "%w", err)
			return
		}
	}
	if c.Bit != nil && c.Bits != "" {
		bad("bits", "a point is one field: remove bit or bits")
	}
	if p.format.float || p.format.signed || name == "bool" {
		bad(field, "%s has no bit fields: use uint16, uint32 or uint64", name)
		return
	}
	if low < 0 || high >= p.width {
		bad(field, "bit %d is outside %s, whose bits are 0 to %d", max(high, -low), name, p.width-1)
		return
	}
	p.low, p.width = low, high-low+1
}

// compileValue takes scale, offset and no_value, and settles the type.
func (c *PointConfig) compileValue(p *point, name string, bad report) {
	p.scaled = c.Scale != nil || c.Offset != nil
	p.factor = 1
	if c.Scale != nil {
		p.factor = *c.Scale
	}
	if c.Offset != nil {
		p.offset = *c.Offset
	}
	if p.factor == 0 || math.IsNaN(p.factor) || math.IsInf(p.factor, 0) {
		bad("scale", "%v does not work: a scale is a number other than 0", p.factor)
		p.factor = 1
	}
	if math.IsNaN(p.offset) || math.IsInf(p.offset, 0) {
		bad("offset", "%v does not work: an offset is a number", p.offset)
	}
	switch {
	case p.kind.IsBit() || name == "bool" || c.Bit != nil:
		p.typ = drivers.Bool
		if p.scaled {
			bad("scale", "a yes-or-no value has no scale or offset")
		}
		if c.NoValue != nil {
			bad("no_value", "a yes-or-no value has no other raw value to spare")
		}
		return
	case p.format.float && p.scaled:
		p.typ = drivers.Float
	case p.format.float:
		p.typ, p.scale.Float32 = drivers.Float, p.format.registers == 2
	case p.scaled:
		p.typ = drivers.Float
		p.scale = drivers.Scale{Offset: p.offset}
		p.scale.Num, p.scale.Den = fraction(p.factor)
	default:
		p.typ = drivers.Int
	}
	c.compileNone(p, name, bad)
}

func (c *PointConfig) compileNone(p *point, name string, bad report) {
	if c.NoValue == nil {
		return
	}
	v := *c.NoValue
	if p.format.float {
		bad("no_value", "%s has NaN for that, which needs no mention", name)
		return
	}
	if p.width < 64 && (v >= 1<<p.width || v < -1<<(p.width-1) || v < 0 && !p.format.signed) {
		bad("no_value", "%d is no raw value of %d bits", v, p.width)
		return
	}
	p.hasNone, p.none = true, uint64(v)&mask(p.width)
}

func mask(width int) uint64 {
	if width >= 64 {
		return math.MaxUint64
	}
	return 1<<width - 1
}

// fraction returns the decimal number that f stands for as num/den with both
// exact, so that raw*num/den is the double nearest to the decimal result. It
// falls back to f/1 where that needs more than 53 bits.
func fraction(f float64) (num, den float64) {
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	whole, frac, _ := strings.Cut(mantissa, ".")
	n, nerr := strconv.ParseInt(whole+frac, 10, 64)
	e, eerr := strconv.Atoi(exponent)
	e -= len(frac)
	if nerr != nil || eerr != nil || e < -15 || e >= 0 || n >= 1<<53 || n <= -1<<53 {
		return f, 1
	}
	d := int64(1)
	for range -e {
		d *= 10
	}
	g := gcd(max(n, -n), d)
	return float64(n / g), float64(d / g)
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
