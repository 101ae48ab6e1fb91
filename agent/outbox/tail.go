package outbox

import (
	bolt "go.etcd.io/bbolt"
)

// tail is the end of the active segment as it is on the disk.
type tail struct {
	hot      []hotRecord
	hotBytes int
	block    []byte // of the last block
	blockKey uint64 // 0 if there is none
	blockEnd uint64 // its last seq
}

type hotRecord struct {
	seq   uint64
	value []byte
}

func hotLimit(page int) int { return page - pageHeader - 2*(elemSize+1+16) }

// blockLimit: two blocks make 16 + 2*(16+8+limit) bytes, which must stay under
// two pages, since bbolt takes one more for a node that fills them exactly.
func blockLimit(page int) int { return page - 33 }

// readTail reads the hot messages and the last block of a segment.
func readTail(path string) (t tail, err error) {
	p, err := openPages(path)
	if err != nil {
		return t, err
	}
	defer p.close()
	err = p.scan(messagesBucket, seqKey(^uint64(0)), func(key, value []byte) (bool, error) {
		t.blockKey, t.block = seqOf(key), append([]byte(nil), value...)
		eachRecord(t.blockKey, value, func(seq uint64, _ []byte) bool { t.blockEnd = seq; return true })
		return true, nil
	})
	if err == nil {
		err = p.hot(func(key, value []byte) (bool, error) {
			t.add(seqOf(key), append([]byte(nil), value...))
			return true, nil
		})
	}
	return t, err
}

func (t *tail) add(seq uint64, value []byte) {
	t.hot = append(t.hot[:len(t.hot):len(t.hot)], hotRecord{seq, value})
	t.hotBytes += elemSize + 8 + len(value)
}

// put adds a batch to the hot messages, or moves it with them into blocks if
// they do not fit the root's page any more. A tail that failed is thrown away.
func (t *tail) put(tx *bolt.Tx, run uint64, batch []*Ticket, limit int) (moved bool, err error) {
	root := tx.Cursor().Bucket() // the root bucket itself, which a Tx does not offer otherwise
	root.FillPercent = 1
	n := len(t.hot)
	for _, ticket := range batch {
		key := seqKey(ticket.seq)
		t.add(ticket.seq, appendRecord(nil, key, run, ticket.data))
	}
	if t.hotBytes <= limit {
		for _, h := range t.hot[n:] {
			if err := root.Put(seqKey(h.seq), h.value); err != nil {
				return false, err
			}
		}
		return false, nil
	}
	for _, h := range t.hot[:n] {
		if err := root.Delete(seqKey(h.seq)); err != nil {
			return false, err
		}
	}
	m := tx.Bucket(messagesBucket)
	m.FillPercent = 1
	full := blockLimit(limit + pageHeader + 2*(elemSize+1+16))
	t.block = append([]byte(nil), t.block...)
	for i, h := range t.hot {
		if t.blockKey == 0 || h.seq != t.blockEnd+1 || len(t.block)+len(h.value) > full {
			t.blockKey, t.block = h.seq, nil
		}
		t.block, t.blockEnd = append(t.block, h.value...), h.seq
		if i+1 == len(t.hot) || t.hot[i+1].seq != h.seq+1 || len(t.block)+len(t.hot[i+1].value) > full {
			if err := m.Put(seqKey(t.blockKey), t.block); err != nil {
				return false, err
			}
		}
	}
	t.hot, t.hotBytes = nil, 0
	return true, nil
}
