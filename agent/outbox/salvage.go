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

// scan reads leaf pages at every multiple of 512 bytes, the smallest page.
func (s *salvaged) scan(data []byte) {
	for at := 0; at+pageHeader <= len(data); at += 512 {
		h := data[at:]
		if native.Uint16(h[8:]) != leafPage {
			continue
		}
		count := int(native.Uint16(h[10:]))
		for i := range count {
			s.element(h, i)
		}
	}
}

// element reads element i of the leaf page at the start of h. Unlike
// page.element it needs no other element of the page to be right.
func (s *salvaged) element(h []byte, i int) {
	at := uint64(pageHeader + i*elemSize)
	if at+elemSize > uint64(len(h)) {
		return
	}
	e := h[at:]
	pos, klen, vlen := uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
	start := at + pos
	if native.Uint32(e) != 0 || klen != 8 || vlen > maxValue || start+klen+vlen > uint64(len(h)) {
		return
	}
	key, value := h[start:start+8], h[start+8:start+8+vlen]
	run, data, ok := decodeRecord(key, value)
	if !ok {
		return
	}
	if run == 0 {
		s.schemas[protocol.SchemaID(key)] = data
		return
	}
	seq := binary.BigEndian.Uint64(key)
	if old, twice := s.messages[seq]; twice && old.run >= run {
		return
	}
	m, err := protocol.DecodeMessage(data)
	if err != nil || m.Seq != seq {
		return
	}
	s.epoch = m.Epoch
	s.messages[seq] = found{run, data}
}
