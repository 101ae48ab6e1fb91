package protocol

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// columnReader decodes the columns of a body one after the other.
type columnReader struct {
	rest  []byte
	delta int64
	form  columnMap
	slab  []int64 // memory for the integers of the columns to come
	left  int     // how many columns that may be
}

// numbers returns an empty slice with room for some integers.
func (r *columnReader) numbers(room int) []int64 {
	if len(r.slab) < room {
		r.slab = make([]int64, room*max(r.left, 1))
	}
	out := r.slab[:0:room]
	r.slab = r.slab[room:]
	return out
}

// next decodes the next item into v.
func (r *columnReader) next(v any) (err error) {
	r.rest, err = decMode.UnmarshalFirst(r.rest, v)
	return err
}

// skip passes over the next column, whatever it is. A lone integer, the column
// of a single scan, is only a head (RFC 8949 section 3).
func (r *columnReader) skip() error {
	if m := r.major(); m == majorUint || m == majorNint {
		n := 1
		if info := r.rest[0] & 0x1f; info >= 24 && info <= 27 {
			n += 1 << (info - 24)
		}
		if r.rest[0]&0x1f <= 27 && n <= len(r.rest) {
			r.rest = r.rest[n:]
			return nil
		}
	}
	if len(r.rest) > 2 && r.rest[0] == 0xd8 && r.rest[1] == tagFloat64LE {
		r.rest = r.rest[2:]
	}
	var raw cbor.RawMessage
	return r.next(&raw)
}

// major returns the major type of the next item, -1 if there is none.
func (r *columnReader) major() int {
	if len(r.rest) == 0 {
		return -1
	}
	return int(r.rest[0] >> 5)
}

// Initial bytes (RFC 8949 appendix B).
const (
	cborArray32 = 0x9a
	cborNull    = 0xf6
)

// null skips a null, if that is next.
func (r *columnReader) null() bool {
	if len(r.rest) == 0 || r.rest[0] != cborNull {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// column decodes n values of p. The slice has room for scans values.
func (r *columnReader) column(p *Point, n, scans int) (c Column, err error) {
	switch p.Kind {
	case Float:
		return r.floats(p, n, scans)
	case Text:
		c.Texts, err = r.texts(n, scans)
		return c, err
	}
	if c.Ints, err = r.ints(p.Base, n, scans); err != nil {
		return c, err
	}
	if p.Kind == Bool && slices.ContainsFunc(c.Ints, func(v int64) bool { return v != 0 && v != 1 }) {
		return c, refuse(ReasonMismatch, "", "a truth value other than 0 and 1")
	}
	return c, nil
}

// ints decodes n raw integers from one of the forms of ints.
func (r *columnReader) ints(base int64, n, room int) ([]int64, error) {
	switch r.major() {
	case majorUint, majorNint:
		if err := r.next(&r.delta); err != nil {
			return nil, err
		}
		out := r.numbers(room)[:n]
		for i := range out {
			out[i] = base + r.delta
		}
		return out, nil
	case majorArray:
		out := r.numbers(room)
		if err := r.next(&out); err != nil {
			return nil, err
		}
		if len(out) != n {
			return nil, refuse(ReasonMismatch, "", "%d numbers where %d are due", len(out), n)
		}
		for i := range out {
			base += out[i]
			out[i] = base
		}
		return out, nil
	case majorMap:
		r.form = columnMap{}
		if err := r.next(&r.form); err != nil {
			return nil, err
		}
		if r.form.Exp != nil || r.form.Ints != nil {
			return nil, refuse(ReasonMalformed, "", "a decimal where integers are due")
		}
		return expandRuns(r.form.Runs, base, n, r.numbers(room))
	}
	return nil, refuse(ReasonMalformed, "", "not a column of integers")
}

func expandRuns(runs []int64, base int64, n int, out []int64) ([]int64, error) {
	if len(runs)%2 != 0 {
		return nil, refuse(ReasonMalformed, "", "a run without its delta")
	}
	for i := 0; i < len(runs); i += 2 {
		count, d := runs[i], runs[i+1]
		if count < 1 || count > int64(n-len(out)) {
			return nil, refuse(ReasonMismatch, "", "a run of %d where at most %d are due", count, n-len(out))
		}
		for range count {
			base += d
			out = append(out, base)
		}
	}
	if len(out) != n {
		return nil, refuse(ReasonMismatch, "", "runs of %d numbers where %d are due", len(out), n)
	}
	return out, nil
}

// floats decodes a Float column in any of its forms.
func (r *columnReader) floats(p *Point, n, room int) (Column, error) {
	switch r.major() {
	case majorUint, majorNint, majorArray:
		return r.scaled(p, n, room)
	case majorMap:
		return r.floatMap(p, n, room)
	}
	if len(r.rest) < 3 || r.rest[0] != 0xd8 || r.rest[1] != tagFloat64LE {
		return Column{}, refuse(ReasonMalformed, "", "not a column of floats")
	}
	r.rest = r.rest[2:]
	if r.major() != majorBytes {
		return Column{}, refuse(ReasonMalformed, "", "tag %d on something other than bytes", tagFloat64LE)
	}
	var b []byte
	if err := r.next(&b); err != nil {
		return Column{}, err
	}
	if len(b) != 8*n {
		return Column{}, refuse(ReasonMismatch, "", "%d bytes of float64 where %d values are due", len(b), n)
	}
	out := make([]float64, n, room)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return Column{Floats: out}, nil
}

// floatMap decodes runs of raw integers, or decimals.
func (r *columnReader) floatMap(p *Point, n, room int) (Column, error) {
	before := r.rest
	r.form = columnMap{}
	if err := r.next(&r.form); err != nil {
		return Column{}, err
	}
	if r.form.Exp == nil {
		r.rest = before
		return r.scaled(p, n, room)
	}
	exp := *r.form.Exp
	if exp > maxExponent || r.form.Runs != nil {
		return Column{}, refuse(ReasonMalformed, "", "a decimal exponent of %d, or runs beside it", exp)
	}
	inner := columnReader{rest: r.form.Ints}
	ints, err := inner.ints(0, n, room)
	return Column{Ints: ints, scale: decimal(int(exp))}, err
}

func (r *columnReader) scaled(p *Point, n, room int) (Column, error) {
	if p.Scale.none() {
		return Column{}, refuse(ReasonMismatch, "", "raw integers for a float without a scale")
	}
	ints, err := r.ints(p.Base, n, room)
	return Column{Ints: ints, scale: p.Scale}, err
}

func (r *columnReader) texts(n, room int) (out []string, err error) {
	switch r.major() {
	case majorText:
		var s string
		if err = r.next(&s); err != nil {
			return nil, err
		}
		out = make([]string, n, room)
		for i := range out {
			out[i] = s
		}
	case majorArray:
		out = make([]string, 0, room)
		if err = r.next(&out); err != nil {
			return nil, err
		}
	default:
		return nil, refuse(ReasonMalformed, "", "not a column of texts")
	}
	if len(out) != n {
		return nil, refuse(ReasonMismatch, "", "%d texts where %d are due", len(out), n)
	}
	for _, s := range out {
		if len(s) > MaxText {
			return nil, refuse(ReasonTooLarge, "", "a text of %d bytes", len(s))
		}
	}
	return out, nil
}
