package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/klauspost/compress/zstd"

	"tidemark/protocol"
)

// ErrMalformed is a chunk that is damaged.
var ErrMalformed = errors.New("chunk: it does not decode")

// An encoded chunk is one byte of form and its content, in a zstd frame where
// that is shorter:
//
//	content = head, uvarint readings, [scale], times, [aux], values, [marks]
//	head    = kind | values<<2 | hasAux<<4 | hasMarks<<5
//	times   = varint first, varint delta, varint change of the delta …
//	ints    = varint first, varint delta …          ; also aux
//	floats  = float64 little endian …
//	texts   = uvarint length, bytes …
//	marks   = uvarint count, then for each: uvarint gap to the one before,
//	          uvarint count, byte quality, uvarint length and bytes of the reason
const (
	formPlain = 0x10
	formZstd  = 0x11

	noValues = 0
	asInts   = 1
	asFloats = 2
	asTexts  = 3

	flagAux   = 1 << 4
	flagMarks = 1 << 5

	// compressFrom is the size from which a frame can be worth its header.
	compressFrom = 96
	// maxContent bounds a chunk out of its frame.
	maxContent = MaxReadings * (protocol.MaxText + 64)
)

var (
	encoder = must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(128<<10), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true)))
	decoder = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxContent), zstd.WithDecoderLowmem(true)))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic("chunk: zstd refuses its options: " + err.Error()) // the options above are constants
	}
	return v
}

// Encoder encodes blocks with buffers of its own.
type Encoder struct{ content, out []byte }

// Encode returns b's encoding, valid until the next call. b must not be empty.
func (e *Encoder) Encode(b *Block) []byte {
	e.content = b.append(e.content[:0])
	if len(e.content) >= compressFrom {
		e.out = encoder.EncodeAll(e.content, append(e.out[:0], formZstd))
		if len(e.out) <= len(e.content) {
			return e.out
		}
	}
	e.out = append(append(e.out[:0], formPlain), e.content...)
	return e.out
}

func (b *Block) append(out []byte) []byte {
	form := noValues
	switch {
	case len(b.Ints) > 0:
		form = asInts
	case len(b.Floats) > 0:
		form = asFloats
	case len(b.Texts) > 0:
		form = asTexts
	}
	head := byte(b.Kind) | byte(form)<<2
	if len(b.Aux) > 0 {
		head |= flagAux
	}
	if len(b.Marks) > 0 {
		head |= flagMarks
	}
	out = binary.AppendUvarint(append(out, head), uint64(len(b.Times)))
	if form == asInts && b.Kind == protocol.Float {
		out = appendScale(out, b.Scale)
	}
	out = appendTimes(out, b.Times)
	if len(b.Aux) > 0 {
		out = appendInts(out, b.Aux)
	}
	switch form {
	case asInts:
		out = appendInts(out, b.Ints)
	case asFloats:
		for _, f := range b.Floats {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(f))
		}
	case asTexts:
		for _, s := range b.Texts {
			out = append(binary.AppendUvarint(out, uint64(len(s))), s...)
		}
	}
	if len(b.Marks) > 0 {
		out = appendMarks(out, b.Marks)
	}
	return out
}

const (
	scaleFloat32 = 0
	scaleDecimal = 1 // and an exponent: 1 / 10^exponent
	scaleFull    = 2 // and num, den, offset
)

func appendScale(out []byte, s protocol.Scale) []byte {
	if s.Float32 {
		return append(out, scaleFloat32)
	}
	if s.Num == 1 && math.Float64bits(s.Offset) == 0 {
		for e := range 16 {
			if s.Den == math.Pow10(e) {
				return append(out, scaleDecimal, byte(e))
			}
		}
	}
	out = append(out, scaleFull)
	for _, f := range [...]float64{s.Num, s.Den, s.Offset} {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(f))
	}
	return out
}

func appendTimes(out []byte, times []int64) []byte {
	prev, delta := int64(0), int64(0)
	for i, t := range times {
		d := t - prev
		out = binary.AppendVarint(out, d-delta)
		if prev = t; i > 0 {
			delta = d
		}
	}
	return out
}

func appendInts(out []byte, ints []int64) []byte {
	prev := int64(0)
	for _, v := range ints {
		out = binary.AppendVarint(out, v-prev)
		prev = v
	}
	return out
}

func appendMarks(out []byte, marks []protocol.Mark) []byte {
	out = binary.AppendUvarint(out, uint64(len(marks)))
	next := 0
	for _, m := range marks {
		out = binary.AppendUvarint(out, uint64(m.First-next))
		out = binary.AppendUvarint(out, uint64(m.Count))
		out = binary.AppendUvarint(append(out, byte(m.Quality)), uint64(len(m.Reason)))
		out = append(out, m.Reason...)
		next = m.First + m.Count
	}
	return out
}

// Decode reads what Encode wrote. The error wraps [ErrMalformed].
func Decode(data []byte) (Block, error) {
	if len(data) < 2 || data[0] != formPlain && data[0] != formZstd {
		return Block{}, fmt.Errorf("%w: %d bytes in no known form", ErrMalformed, len(data))
	}
	content := data[1:]
	if data[0] == formZstd {
		var err error
		if content, err = decoder.DecodeAll(content, nil); err != nil {
			return Block{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	r := reader{data: content}
	b := r.block()
	if r.failed || len(r.data) > 0 || !b.whole() {
		return Block{}, fmt.Errorf("%w: it is cut short, too long, or has impossible counts", ErrMalformed)
	}
	return b, nil
}

// whole reports whether every reading that needs a value has one of its kind.
func (b *Block) whole() bool {
	switch {
	case len(b.Texts) > 0:
		return b.Kind == protocol.Text
	case len(b.Floats) > 0:
		return b.Kind == protocol.Float
	case len(b.Ints) > 0:
		return b.Kind != protocol.Text
	}
	return b.Bad() == b.Len()
}

// reader takes a chunk's content apart; once it failed it gives zeros.
type reader struct {
	data   []byte
	failed bool
}

func (r *reader) block() (b Block) {
	head := r.byte()
	n := int(r.uvarint(MaxReadings))
	if n == 0 || n > len(r.data) { // a time takes a byte at least
		r.failed = true
		return b
	}
	b.Kind = protocol.Kind(head & 3)
	form := head >> 2 & 3
	if form == asInts && b.Kind == protocol.Float {
		b.Scale = r.scale()
	}
	b.Times = r.times(n)
	if head&flagAux != 0 {
		b.Aux = r.ints(n)
	}
	switch form {
	case asInts:
		b.Ints = r.ints(n)
	case asFloats:
		b.Floats = r.floats(n)
	case asTexts:
		b.Texts = r.texts(n)
	}
	if head&flagMarks != 0 {
		b.Marks = r.marks(n)
	}
	return b
}

func (r *reader) take(n int) []byte {
	if r.failed || n < 0 || n > len(r.data) {
		r.failed, r.data = true, nil
		return nil
	}
	out := r.data[:n]
	r.data = r.data[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 || v > most {
		r.failed, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.failed, r.data = true, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) scale() protocol.Scale {
	switch r.byte() {
	case scaleFloat32:
		return protocol.Scale{Float32: true}
	case scaleDecimal:
		return protocol.Scale{Num: 1, Den: math.Pow10(int(r.byte()))}
	case scaleFull:
		f := r.floats(3)
		if len(f) == 3 {
			return protocol.Scale{Num: f[0], Den: f[1], Offset: f[2]}
		}
	}
	r.failed = true
	return protocol.Scale{}
}

func (r *reader) times(n int) []int64 {
	out := make([]int64, n)
	prev, delta := int64(0), int64(0)
	for i := range out {
		d := r.varint() + delta
		prev += d
		if out[i] = prev; i > 0 {
			delta = d
		}
	}
	return out
}

func (r *reader) ints(n int) []int64 {
	if n > len(r.data) {
		r.failed = true
		return nil
	}
	out := make([]int64, n)
	prev := int64(0)
	for i := range out {
		prev += r.varint()
		out[i] = prev
	}
	return out
}

func (r *reader) floats(n int) []float64 {
	b := r.take(8 * n)
	if b == nil {
		return nil
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return out
}

func (r *reader) texts(n int) []string {
	if n > len(r.data) {
		r.failed = true
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = string(r.take(int(r.uvarint(protocol.MaxText))))
	}
	return out
}

func (r *reader) marks(n int) []protocol.Mark {
	out := make([]protocol.Mark, 0, 8)
	next := 0
	for range r.uvarint(uint64(n)) {
		m := protocol.Mark{First: next + int(r.uvarint(uint64(n))), Count: int(r.uvarint(uint64(n))), Quality: protocol.Quality(r.byte())}
		m.Reason = string(r.take(int(r.uvarint(protocol.MaxText))))
		next = m.First + m.Count
		if next > n || m.Count == 0 || r.failed {
			r.failed = true
			return nil
		}
		out = append(out, m)
	}
	return out
}
