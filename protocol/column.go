package protocol

import (
	"encoding/binary"
	"math"

	"github.com/fxamacker/cbor/v2"
)

// A column is the values of one point in the scans of a message. On the wire:
//
//	column  = null                    ; no scan has a value
//	        / ints                    ; raw integers: Int, Bool, Float with a scale
//	        / {1: exp, 2: ints}       ; Float: value = raw / 10^exp
//	        / #6.86(bstr)             ; Float: float64 little endian (RFC 8746)
//	        / tstr / [* tstr]         ; Text: the same in every scan, or one each
//	ints    = int                     ; the same in every scan: its delta to the base
//	        / [* int]                 ; a delta for each scan; the first is to the base
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

// encodeInts chooses the shortest of the forms of ints.
func encodeInts(raw []int64, base int64, deltas []int64) (any, []int64) {
	deltas = deltas[:0]
	prev := base
	runs, constant := 0, true
	for i, v := range raw {
		d := v - prev
		prev = v
		deltas = append(deltas, d)
		if i > 0 && d != 0 {
			constant = false
		}
		if i == 0 || d != deltas[i-1] {
			runs++
		}
	}
	if constant {
		return deltas[0], deltas
	}
	if runs*3 >= len(raw) {
		return deltas, deltas
	}
	pairs := make([]int64, 0, 2*runs)
	for i := 0; i < len(deltas); {
		j := i + 1
		for j < len(deltas) && deltas[j] == deltas[i] {
			j++
		}
		pairs = append(pairs, int64(j-i), deltas[i])
		i = j
	}
	return columnMap{Runs: pairs}, deltas
}

// decodeInts reads n raw integers from one of the forms of ints.
func decodeInts(data []byte, base int64, n int) ([]int64, error) {
	switch majorOf(data) {
	case majorUint, majorNint:
		var d int64
		if err := decMode.Unmarshal(data, &d); err != nil {
			return nil, err
		}
		out := make([]int64, n)
		for i := range out {
			out[i] = base + d
		}
		return out, nil
	case majorArray:
		out := make([]int64, 0, min(n, len(data)))
		if err := decMode.Unmarshal(data, &out); err != nil {
			return nil, err
		}
		if len(out) != n {
			return nil, refuse(ReasonMismatch, "", "%d values for %d scans", len(out), n)
		}
		for i := range out {
			base += out[i]
			out[i] = base
		}
		return out, nil
	case majorMap:
		var m columnMap
		if err := decMode.Unmarshal(data, &m); err != nil {
			return nil, err
		}
		return expandRuns(m.Runs, base, n)
	}
	return nil, refuse(ReasonMalformed, "", "not a column of integers")
}

func expandRuns(runs []int64, base int64, n int) ([]int64, error) {
	if len(runs)%2 != 0 {
		return nil, refuse(ReasonMalformed, "", "a run without its delta")
	}
	out := make([]int64, 0, n)
	for i := 0; i < len(runs); i += 2 {
		count, d := runs[i], runs[i+1]
		if count < 1 || count > int64(n-len(out)) {
			return nil, refuse(ReasonMismatch, "", "a run of %d with %d scans left", count, n-len(out))
		}
		for range count {
			base += d
			out = append(out, base)
		}
	}
	if len(out) != n {
		return nil, refuse(ReasonMismatch, "", "runs of %d values for %d scans", len(out), n)
	}
	return out, nil
}

// encodeFloats writes floats that no scale gives: as decimals if they all are
// of few digits, else as a typed array.
func encodeFloats(vals []float64, skip func(int) bool, scratch *[]int64) any {
	for exp := range maxExponent + 1 {
		s := Scale{Num: 1, Den: math.Pow10(exp)}
		raw, ok := rawsOf(vals, s, skip, (*scratch)[:0])
		*scratch = raw
		if ok {
			ints, _ := encodeInts(raw, 0, nil)
			enc, err := encMode.Marshal(ints)
			if err == nil && len(enc) < 8*len(vals) {
				e := uint8(exp)
				return columnMap{Exp: &e, Ints: enc}
			}
			break
		}
	}
	b := make([]byte, 0, 8*len(vals))
	for _, f := range vals {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	return cbor.Tag{Number: tagFloat64LE, Content: b}
}

// rawsOf appends the raw integers of vals under s; false if one has none. A
// skipped value takes the raw of the one before it.
func rawsOf(vals []float64, s Scale, skip func(int) bool, out []int64) ([]int64, bool) {
	var prev int64
	for i, f := range vals {
		if !skip(i) {
			raw, ok := s.raw(f)
			if !ok {
				return out, false
			}
			prev = raw
		}
		out = append(out, prev)
	}
	return out, true
}

// decodeFloats reads a Float column in any of its forms.
func decodeFloats(data []byte, p *Point, n int) (Column, error) {
	switch majorOf(data) {
	case majorUint, majorNint, majorArray:
		return scaledColumn(data, p, n)
	case majorMap:
		var m columnMap
		if err := decMode.Unmarshal(data, &m); err != nil {
			return Column{}, err
		}
		if m.Exp == nil {
			return scaledColumn(data, p, n)
		}
		if *m.Exp > maxExponent || m.Runs != nil {
			return Column{}, refuse(ReasonMalformed, "", "a decimal exponent of %d, or runs beside it", *m.Exp)
		}
		ints, err := decodeInts(m.Ints, 0, n)
		return Column{Ints: ints, scale: Scale{Num: 1, Den: math.Pow10(int(*m.Exp))}}, err
	}
	var b []byte
	if len(data) < 3 || data[0] != 0xd8 || data[1] != tagFloat64LE {
		return Column{}, refuse(ReasonMalformed, "", "not a column of floats")
	}
	if err := decMode.Unmarshal(data[2:], &b); err != nil {
		return Column{}, err
	}
	if len(b) != 8*n {
		return Column{}, refuse(ReasonMismatch, "", "%d bytes of float64 for %d scans", len(b), n)
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return Column{Floats: out}, nil
}

func scaledColumn(data []byte, p *Point, n int) (Column, error) {
	if p.Scale.none() {
		return Column{}, refuse(ReasonMismatch, "", "raw integers for a float without a scale")
	}
	ints, err := decodeInts(data, p.Base, n)
	return Column{Ints: ints, scale: p.Scale}, err
}

func decodeTexts(data []byte, n int) ([]string, error) {
	out := make([]string, 0, min(n, len(data)))
	if majorOf(data) == majorText {
		var s string
		if err := decMode.Unmarshal(data, &s); err != nil {
			return nil, err
		}
		for range n {
			out = append(out, s)
		}
	} else if err := decMode.Unmarshal(data, &out); err != nil {
		return nil, err
	}
	if len(out) != n {
		return nil, refuse(ReasonMismatch, "", "%d texts for %d scans", len(out), n)
	}
	for _, s := range out {
		if len(s) > MaxText {
			return nil, refuse(ReasonTooLarge, "", "a text of %d bytes", len(s))
		}
	}
	return out, nil
}

// The CBOR major types (RFC 8949 section 3.1) that forms are told apart by.
const (
	majorUint  = 0
	majorNint  = 1
	majorText  = 3
	majorArray = 4
	majorMap   = 5
)

func majorOf(data []byte) int {
	if len(data) == 0 {
		return -1
	}
	return int(data[0] >> 5)
}
