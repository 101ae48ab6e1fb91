package trace

import (
	"encoding/binary"
	"errors"

	"tidemark/protocol"
)

// item is one message of a row.
type item struct {
	seqs     protocol.Set
	timeMs   int64
	bytes    int
	readings int
}

// maxRun is how many messages a row holds at most: what a query may have to
// take apart to find one.
const maxRun = 512

// appendItem writes an item behind the one before it (the zero item for the
// first): the distances of its first seq and time, its size and readings, then
// its seqs as the lengths and gaps of their ranges.
func appendItem(b []byte, it, prev *item) []byte {
	b = binary.AppendVarint(b, int64(it.seqs.Min()-prev.seqs.Min()))
	b = binary.AppendVarint(b, it.timeMs-prev.timeMs)
	b = binary.AppendUvarint(b, uint64(it.bytes))
	b = binary.AppendUvarint(b, uint64(it.readings))
	ranges := it.seqs.Ranges()
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	for i, r := range ranges {
		if i > 0 {
			b = binary.AppendUvarint(b, r.First-ranges[i-1].Last)
		}
		b = binary.AppendUvarint(b, r.Last-r.First)
	}
	return b
}

// errItems says that a row's items are not what appendItem wrote.
var errItems = errors.New("trace: a row of the ledger is damaged")

func parseItems(b []byte, count int) ([]item, error) {
	out := make([]item, 0, count)
	var prev item
	ok := true
	signed := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	unsigned := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	for range count {
		first := prev.seqs.Min() + uint64(signed())
		it := item{timeMs: prev.timeMs + signed(), bytes: int(unsigned()), readings: int(unsigned())}
		for i := range unsigned() {
			if !ok {
				break
			}
			if i > 0 {
				first += unsigned()
			}
			last := first + unsigned()
			it.seqs.Add(first, last)
			first = last
		}
		if !ok {
			return nil, errItems
		}
		out = append(out, it)
		prev = it
	}
	return out, nil
}
