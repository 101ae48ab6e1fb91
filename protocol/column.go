package protocol

import (
	"encoding/binary"
	"math"

	"github.com/fxamacker/cbor/v2"
)

// A column is the values of one point in the scans of a message that have one,
// in order. On the wire:
//
//	column  = null                    ; no scan has a value
//	        / ints                    ; raw integers: Int, Bool, Float with a scale
//	        / {1: exp, 2: ints}       ; Float: value = raw / 10^exp
//	        / #6.86(bstr)             ; Float: float64 little endian (RFC 8746)
//	        / tstr / [* tstr]         ; Text: the same in every scan, or one each
//	ints    = int                     ; the same in every scan: its delta to the base
//	        / [* int]                 ; a delta for each value; the first is to the base
//	        / {0: [* int]}            ; the same as runs: count, delta, count, delta …
//
// Deltas wrap around at 64 bits, so any integer follows any other.

const (
	tagFloat64LE = 86 // RFC 8746 table 1: float64, little endian
	maxExponent  = 15
)

// columnMap is the forms that are maps: runs, or decimals.
type columnMap struct {
	Runs []int64         `cbor:"0,keyasint,omitempty"`
	Exp  *uint8          `cbor:"1,keyasint,omitempty"`
	Ints cbor.RawMessage `cbor:"2,keyasint,omitempty"`
}

// headSize is the encoded size of an integer (RFC 8949 section 3).
func headSize(v int64) int {
	u := uint64(v ^ v>>63)
	switch {
	case u < 24:
		return 1
	case u < 1<<8:
		return 2
	case u < 1<<16:
		return 3
	case u < 1<<32:
		return 5
	}
	return 9
}

// encodeInts chooses the shortest of the forms of ints. deltas is memory that
// it may use; the form may keep it, so it is returned if it does not.
func encodeInts(raw []int64, base int64, deltas []int64) (form any, free []int64) {
	deltas = deltas[:0]
	prev := base
	runs, length, constant := 0, int64(0), true
	array, packed := 0, 1 // sizes of both forms
	for i, v := range raw {
		d := v - prev
		prev = v
		size := headSize(d)
		array += size
		constant = constant && (i == 0 || d == 0)
		if i == 0 || d != deltas[i-1] {
			packed += size + headSize(length)
			runs, length = runs+1, 0
		}
		length++
		deltas = append(deltas, d)
	}
	if constant {
		return deltas[0], deltas
	}
	if packed+headSize(length) >= array {
		return deltas, nil
	}
	return columnMap{Runs: pack(deltas, runs)}, deltas
}

// pack writes deltas as runs: count, delta, count, delta …
func pack(deltas []int64, runs int) []int64 {
	pairs := make([]int64, 0, 2*runs)
	for i := 0; i < len(deltas); {
		j := i + 1
		for j < len(deltas) && deltas[j] == deltas[i] {
			j++
		}
		pairs = append(pairs, int64(j-i), deltas[i])
		i = j
	}
	return pairs
}

// encodeFloats writes floats that no scale gives: as decimals if they all are
// of few digits, else as a typed array.
func encodeFloats(vals []float64, scratch []int64) any {
	for exp := range maxExponent + 1 {
		raw, ok := rawsOf(vals, decimal(exp), scratch[:0])
		if !ok {
			scratch = raw
			continue
		}
		ints, _ := encodeInts(raw, 0, nil)
		enc, err := encMode.Marshal(ints)
		if err == nil && len(enc) < 8*len(vals) {
			e := uint8(exp)
			return columnMap{Exp: &e, Ints: enc}
		}
		break
	}
	b := make([]byte, 0, 8*len(vals))
	for _, f := range vals {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	return cbor.Tag{Number: tagFloat64LE, Content: b}
}

// decimal is the scale of values with exp digits behind the point.
func decimal(exp int) Scale { return Scale{Num: 1, Den: math.Pow10(exp)} }

// rawsOf appends the raw integers of vals under s; false if one has none.
func rawsOf(vals []float64, s Scale, out []int64) ([]int64, bool) {
	for _, f := range vals {
		raw, ok := s.raw(f)
		if !ok {
			return out, false
		}
		out = append(out, raw)
	}
	return out, true
}

// The CBOR major types (RFC 8949 section 3.1) that forms are told apart by.
const (
	majorUint  = 0
	majorNint  = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
)
