package chunk

import (
	"slices"
	"sort"

	"tidemark/protocol"
)

// MaxReadings is the largest number of readings in a block.
const MaxReadings = 1 << 14

// Block is readings of one series. Exactly one of Ints, Floats and Texts holds
// a value for each reading, or none does if no reading has a value. A reading
// whose mark is Bad has a value that means nothing.
type Block struct {
	Kind  protocol.Kind
	Scale protocol.Scale // that Ints of a Float stand under
	// Times in milliseconds since the Unix epoch.
	Times []int64
	// Aux holds, for each reading, its raw time less its time, or, where the
	// reading is not placed yet, its monotonic time less its raw time. Nil: all 0.
	Aux    []int64
	Ints   []int64
	Floats []float64
	Texts  []string
	Marks  []protocol.Mark // in order, without overlap
}

// Len returns the number of readings.
func (b *Block) Len() int { return len(b.Times) }

// Bad returns the number of readings without a value.
func (b *Block) Bad() int {
	n := 0
	for _, m := range b.Marks {
		if m.Quality >= protocol.Bad {
			n += m.Count
		}
	}
	return n
}

// Reset empties b and keeps its memory.
func (b *Block) Reset() {
	clear(b.Texts)
	*b = Block{Times: b.Times[:0], Aux: b.Aux[:0], Ints: b.Ints[:0], Floats: b.Floats[:0], Texts: b.Texts[:0], Marks: b.Marks[:0]}
}

// Bounds returns the least and the largest time.
func (b *Block) Bounds() (first, last int64) {
	first, last = b.Times[0], b.Times[0]
	for _, t := range b.Times {
		first, last = min(first, t), max(last, t)
	}
	return first, last
}

// Span says which part of a telemetry message to append.
type Span struct {
	First, Count int   // scans
	Group        int   // of the point, in the message's times
	Shift        int64 // what is added to a raw time
	Aux          int64
}

// Takes reports whether readings of col can be appended to b.
func (b *Block) Takes(col *protocol.Column, n int) bool {
	switch {
	case b.Len() == 0:
		return true
	case b.Len()+n > MaxReadings || b.Kind != col.Kind():
		return false
	case col.Ints != nil:
		return len(b.Ints) > 0 && (b.Kind != protocol.Float || b.Scale == col.Scale())
	case col.Floats != nil:
		return len(b.Floats) > 0
	case col.Texts != nil:
		return len(b.Texts) > 0
	}
	return true // without values: whatever b holds is repeated
}

// Append appends the readings of a span of column col of t; [Block.Takes] must
// have allowed it. Readings marked NotRead must not be in the span.
func (b *Block) Append(t *protocol.Telemetry, col *protocol.Column, s Span) {
	at, end := len(b.Times), s.First+s.Count
	groups := len(t.Schema.Groups)
	if at == 0 {
		b.Kind, b.Scale = col.Kind(), col.Scale()
	}
	b.Times = slices.Grow(b.Times, s.Count)
	for i, k := s.First, s.First*groups+s.Group; i < end; i, k = i+1, k+groups {
		b.Times = append(b.Times, t.Times[k]+s.Shift)
	}
	b.appendAux(at, s.Count, s.Aux)
	switch {
	case col.Ints != nil:
		b.Ints = append(b.Ints, col.Ints[s.First:end]...)
	case col.Floats != nil:
		b.Floats = append(b.Floats, col.Floats[s.First:end]...)
	case col.Texts != nil:
		b.Texts = append(b.Texts, col.Texts[s.First:end]...)
	default:
		b.fill(s.Count)
	}
	for _, m := range col.Marks {
		first, last := max(m.First, s.First), min(m.First+m.Count, end)
		if first < last {
			b.mark(protocol.Mark{First: at + first - s.First, Count: last - first, Quality: m.Quality, Reason: m.Reason})
		}
	}
}

func (b *Block) appendAux(at, n int, aux int64) {
	if aux == 0 && len(b.Aux) == 0 {
		return
	}
	for len(b.Aux) < at {
		b.Aux = append(b.Aux, 0)
	}
	for range n {
		b.Aux = append(b.Aux, aux)
	}
}

func (b *Block) fill(n int) {
	for range n {
		switch {
		case len(b.Ints) > 0:
			b.Ints = append(b.Ints, b.Ints[len(b.Ints)-1])
		case len(b.Floats) > 0:
			b.Floats = append(b.Floats, b.Floats[len(b.Floats)-1])
		case len(b.Texts) > 0:
			b.Texts = append(b.Texts, "")
		}
	}
}

func (b *Block) mark(m protocol.Mark) {
	if k := len(b.Marks); k > 0 {
		l := &b.Marks[k-1]
		if l.First+l.Count == m.First && l.Quality == m.Quality && l.Reason == m.Reason {
			l.Count += m.Count
			return
		}
	}
	b.Marks = append(b.Marks, m)
}

// Slice returns readings from to (not included). It shares b's memory.
func (b *Block) Slice(from, to int) Block {
	if from == 0 && to == b.Len() {
		return *b
	}
	if from == to {
		return Block{}
	}
	out := Block{Kind: b.Kind, Scale: b.Scale, Times: b.Times[from:to]}
	if len(b.Aux) > 0 {
		out.Aux = b.Aux[from:to]
	}
	switch {
	case len(b.Ints) > 0:
		out.Ints = b.Ints[from:to]
	case len(b.Floats) > 0:
		out.Floats = b.Floats[from:to]
	case len(b.Texts) > 0:
		out.Texts = b.Texts[from:to]
	}
	for _, m := range b.Marks {
		first, last := max(m.First, from), min(m.First+m.Count, to)
		if first < last {
			out.Marks = append(out.Marks, protocol.Mark{First: first - from, Count: last - first, Quality: m.Quality, Reason: m.Reason})
		}
	}
	return out
}

// Clone returns a copy that shares nothing with b.
func (b *Block) Clone() Block {
	out := *b
	out.Times, out.Aux = slices.Clone(b.Times), slices.Clone(b.Aux)
	out.Ints, out.Floats, out.Texts = slices.Clone(b.Ints), slices.Clone(b.Floats), slices.Clone(b.Texts)
	out.Marks = slices.Clone(b.Marks)
	return out
}

// Quality returns the quality of reading i and its reason.
func (b *Block) Quality(i int) (protocol.Quality, string) {
	k := sort.Search(len(b.Marks), func(k int) bool { return b.Marks[k].First+b.Marks[k].Count > i })
	if k < len(b.Marks) && b.Marks[k].First <= i {
		return b.Marks[k].Quality, b.Marks[k].Reason
	}
	return protocol.Good, ""
}

// Reading returns reading i.
func (b *Block) Reading(i int) protocol.Reading {
	q, reason := b.Quality(i)
	r := protocol.Reading{Quality: q, Reason: reason}
	if q >= protocol.Bad {
		return r
	}
	switch {
	case len(b.Floats) > 0:
		r.Value = protocol.FloatValue(b.Floats[i])
	case len(b.Texts) > 0:
		r.Value = protocol.TextValue(b.Texts[i])
	case b.Kind == protocol.Float:
		r.Value = protocol.FloatValue(b.Scale.Value(b.Ints[i]))
	case b.Kind == protocol.Bool:
		r.Value = protocol.BoolValue(b.Ints[i] != 0)
	default:
		r.Value = protocol.IntValue(b.Ints[i])
	}
	return r
}

// AuxOf returns the aux of reading i.
func (b *Block) AuxOf(i int) int64 {
	if len(b.Aux) == 0 {
		return 0
	}
	return b.Aux[i]
}

// Sorted reports whether times never go back.
func (b *Block) Sorted() bool { return slices.IsSorted(b.Times) }

// Merge returns the readings of blocks by time; readings of one time keep the
// order of the blocks. Blocks whose values stand in different forms cannot
// share one, so it returns as few as it can, each of at most MaxReadings.
func Merge(blocks []Block) []Block {
	var out []Block
	for len(blocks) > 0 {
		var same, rest []Block
		for i := range blocks {
			if like(&blocks[0], &blocks[i]) {
				same = append(same, blocks[i])
			} else {
				rest = append(rest, blocks[i])
			}
		}
		out = append(out, mergeLike(same)...)
		blocks = rest
	}
	return out
}

func like(a, b *Block) bool {
	return a.Kind == b.Kind && a.Scale == b.Scale && (len(a.Ints) > 0) == (len(b.Ints) > 0) &&
		(len(a.Floats) > 0) == (len(b.Floats) > 0) && (len(a.Texts) > 0) == (len(b.Texts) > 0)
}

func mergeLike(blocks []Block) []Block {
	type place struct{ block, i int }
	var places []place
	sorted, prev := true, int64(0)
	for b := range blocks {
		for i, t := range blocks[b].Times {
			sorted = sorted && (len(places) == 0 || t >= prev)
			prev = t
			places = append(places, place{b, i})
		}
	}
	if !sorted {
		slices.SortStableFunc(places, func(x, y place) int {
			tx, ty := blocks[x.block].Times[x.i], blocks[y.block].Times[y.i]
			if tx < ty {
				return -1
			}
			if tx > ty {
				return 1
			}
			return 0
		})
	}
	if sorted {
		return concat(blocks, len(places))
	}
	var out []Block
	for len(places) > 0 {
		n := min(len(places), MaxReadings)
		o := Block{Kind: blocks[0].Kind, Scale: blocks[0].Scale}
		for _, p := range places[:n] {
			o.take(&blocks[p.block], p.i)
		}
		out, places = append(out, o), places[n:]
	}
	return out
}

// concat is mergeLike for blocks that are in order already.
func concat(blocks []Block, n int) []Block {
	var out []Block
	for i := range blocks {
		b := blocks[i]
		for b.Len() > 0 {
			if k := len(out); k == 0 || out[k-1].Len() == MaxReadings {
				out = append(out, Block{Kind: b.Kind, Scale: b.Scale, Times: make([]int64, 0, min(n, MaxReadings))})
			}
			o := &out[len(out)-1]
			m := min(b.Len(), MaxReadings-o.Len())
			part := b.Slice(0, m)
			o.join(&part)
			n -= m
			b = b.Slice(m, b.Len())
		}
	}
	return out
}

func (b *Block) join(o *Block) {
	at := len(b.Times)
	b.Times = append(b.Times, o.Times...)
	if len(o.Aux) > 0 {
		b.appendAux(at, 0, 1)
		b.Aux = append(b.Aux, o.Aux...)
	} else {
		b.appendAux(at, o.Len(), 0)
	}
	b.Ints, b.Floats, b.Texts = append(b.Ints, o.Ints...), append(b.Floats, o.Floats...), append(b.Texts, o.Texts...)
	for _, m := range o.Marks {
		m.First += at
		b.mark(m)
	}
}

func (b *Block) take(from *Block, i int) {
	at := len(b.Times)
	b.Times = append(b.Times, from.Times[i])
	b.appendAux(at, 1, from.AuxOf(i))
	switch {
	case len(from.Ints) > 0:
		b.Ints = append(b.Ints, from.Ints[i])
	case len(from.Floats) > 0:
		b.Floats = append(b.Floats, from.Floats[i])
	case len(from.Texts) > 0:
		b.Texts = append(b.Texts, from.Texts[i])
	}
	if q, reason := from.Quality(i); q != protocol.Good {
		b.mark(protocol.Mark{First: at, Count: 1, Quality: q, Reason: reason})
	}
}
