package outbox

import (
	"encoding/binary"
	"io"
	"os"

	"tidemark/protocol"
)

// salvaged is what can be found in a file without trusting its structure.
type salvaged struct {
	epoch    uint64
	messages map[uint64]found // by seq
	schemas  map[protocol.SchemaID][]byte
	work     int // bytes of values that may still be looked at
}

type found struct {
	run  uint64
	data []byte
}

func (s *salvaged) last() (n uint64) {
	for seq := range s.messages {
		n = max(n, seq)
	}
	return n
}

// scanFile looks at every place of a file where a page can begin for leaf
// pages, and keeps the records in them whose checksum is right and whose
// message is whole.
func scanFile(path string) *salvaged {
	s := &salvaged{messages: map[uint64]found{}, schemas: map[protocol.SchemaID][]byte{}}
	f, err := os.Open(path)
	if err != nil {
		return s
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, 1<<29)) // what could be read of it
	s.scan(data)
	return s
}

// maxElements is more than a page of ours can hold.
const maxElements = 1 << 12

// scanFactor bounds the scan of a file whose elements all point at the same
// bytes. In a file of ours every byte is looked at about twice.
const scanFactor = 16

// scan reads leaf pages at every multiple of 512 bytes, the smallest page. It
// goes by the elements, not by what the page's header says of itself, since
// that may be what is damaged; checksums tell what is real.
func (s *salvaged) scan(data []byte) {
	s.work = scanFactor*len(data) + maxValue
	for at := 0; at+pageHeader+elemSize <= len(data) && s.work > 0; at += 512 {
		h := data[at:]
		count := int(native.Uint16(h[10:]))
		if native.Uint16(h[8:]) != leafPage || count > maxElements {
			count = 0
		}
		for i := 0; i < maxElements && s.work > 0 && (s.element(h, i) || i < count); i++ {
		}
	}
}

// element reads element i of the leaf page at the start of h, and reports
// whether there can be one. Unlike page.element it needs no other element of
// the page to be right.
func (s *salvaged) element(h []byte, i int) bool {
	at := uint64(pageHeader + i*elemSize)
	if at+elemSize > uint64(len(h)) {
		return false
	}
	e := h[at:]
	pos, klen, vlen := uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
	start := at + pos
	if native.Uint32(e) == bucketElem {
		s.inline(h, start, klen, vlen)
		return true
	}
	if klen != 8 || pos < elemSize || vlen > maxValue || start+klen+vlen > uint64(len(h)) {
		return false
	}
	s.work -= int(vlen)
	key, value := h[start:start+8], h[start+8:start+8+vlen]
	eachRecord(binary.BigEndian.Uint64(key), value, func(seq uint64, record []byte) bool {
		if run, data, ok := decodeRecord(seqKey(seq), record); ok {
			s.keep(seq, run, data)
		}
		return true
	})
	return true
}

// inline reads a bucket that is so small that bbolt keeps its page in the
// element itself, behind 16 bytes: often that of the schemas.
func (s *salvaged) inline(h []byte, start, klen, vlen uint64) {
	const header = 16
	if klen > 16 || vlen < header+pageHeader || vlen > maxValue || start+klen+vlen > uint64(len(h)) {
		return
	}
	in := h[start+klen+header : start+klen+vlen]
	s.work -= len(in)
	count := min(int(native.Uint16(in[10:])), maxElements)
	for i := 0; i < count && s.work > 0; i++ {
		if at := pageHeader + i*elemSize; at+elemSize > len(in) || native.Uint32(in[at:]) == bucketElem {
			return // buckets of ours hold none
		}
		s.element(in, i)
	}
}

// keep takes a record whose checksum is right.
func (s *salvaged) keep(key, run uint64, data []byte) {
	if run == 0 {
		s.schemas[protocol.SchemaID(seqKey(key))] = data
		return
	}
	if old, twice := s.messages[key]; twice && old.run >= run {
		return
	}
	m, err := protocol.DecodeMessage(data)
	if err != nil || m.Seq != key {
		return
	}
	s.epoch = m.Epoch
	s.messages[key] = found{run, data}
}
