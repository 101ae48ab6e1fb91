package outbox

import (
	"encoding/binary"
	"hash/crc32"

	"tidemark/protocol"
)

// A value in a segment is a block: records of consecutive seqs, the key being
// the first of them, each behind its length as a uvarint. A record is
//
//	4 bytes   CRC-32C of its own key and of what follows, big endian
//	uvarint   the run of the outbox that wrote it, from 1; 0 for a schema
//	the rest  an encoded message, complete in itself, or an encoded schema
//
// The checksum finds bits that flipped inside a value, which bbolt does not.
// The run tells which of two records of one seq is the later one when a torn
// commit left both in a file.
const recordHeader = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord adds a record to a block.
func appendRecord(block, key []byte, run uint64, data []byte) []byte {
	var r [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(r[:], run)
	block = binary.AppendUvarint(block, uint64(recordHeader+n+len(data)))
	at := len(block)
	block = append(block, 0, 0, 0, 0)
	block = append(append(block, r[:n]...), data...)
	binary.BigEndian.PutUint32(block[at:], checksum(key, block[at+recordHeader:]))
	return block
}

// eachRecord calls visit with the seqs and records of a block until it
// returns false; whole says that the block's lengths add up.
func eachRecord(first uint64, block []byte, visit func(seq uint64, record []byte) bool) (whole bool) {
	for seq := first; len(block) > 0; seq++ {
		n, k := binary.Uvarint(block)
		if k <= 0 || n > uint64(len(block)-k) {
			return false
		}
		if !visit(seq, block[k:k+int(n)]) {
			return true
		}
		block = block[k+int(n):]
	}
	return true
}

func checksum(key, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, rest)
}

// decodeRecord returns what a record holds, and whether it is whole. data
// points into value.
func decodeRecord(key, value []byte) (run uint64, data []byte, ok bool) {
	if len(key) != 8 || len(value) < recordHeader+2 ||
		binary.BigEndian.Uint32(value) != checksum(key, value[recordHeader:]) {
		return 0, nil, false
	}
	run, n := binary.Uvarint(value[recordHeader:])
	if n <= 0 {
		return 0, nil, false
	}
	return run, value[recordHeader+n:], true
}

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// stored makes a Stored of an encoded message. Type and time are read from
// the front of the message where it is as protocol writes it, since that is
// called for every message that is sent.
func stored(seq uint64, data []byte) (Stored, error) {
	s := Stored{Seq: seq, Data: data}
	if t, time, ok := peek(data); ok {
		s.Type, s.Time = t, time
		return s, nil
	}
	m, err := protocol.DecodeMessage(data)
	if err != nil {
		return s, err
	}
	s.Type, s.Time = m.Type, m.Time
	return s, nil
}

// peek reads keys 0 (type) to 3 (time) of a message's map, which
// deterministic CBOR puts first.
func peek(data []byte) (t protocol.Type, time int64, ok bool) {
	if len(data) < 3 || data[0]>>5 != 5 || data[1] != 0 || data[2] > 23 {
		return 0, 0, false
	}
	t, rest := protocol.Type(data[2]), data[3:]
	for key := byte(1); key <= 3; key++ {
		if len(rest) < 2 || rest[0] != key {
			return 0, 0, false
		}
		v, n, ok := head(rest[1:])
		if !ok || key < 3 && rest[1]>>5 != 0 {
			return 0, 0, false
		}
		time, rest = v, rest[1+n:]
	}
	return t, time, true
}

// head reads a CBOR integer (RFC 8949 section 3.1).
func head(b []byte) (v int64, n int, ok bool) {
	major, info := b[0]>>5, b[0]&31
	if major > 1 || info > 27 {
		return 0, 0, false
	}
	n = 1
	u := uint64(info)
	if info >= 24 {
		size := 1 << (info - 24)
		if n += size; len(b) < n {
			return 0, 0, false
		}
		u = 0
		for _, c := range b[1:n] {
			u = u<<8 | uint64(c)
		}
	}
	if major == 1 {
		return -1 - int64(u), n, true
	}
	return int64(u), n, true
}
