package outbox

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"tidemark/protocol"
)

// Stored is a committed message.
type Stored struct {
	Seq  uint64
	Data []byte // the encoded message, complete in itself
	Type protocol.Type
	Time int64 // when it was queued, milliseconds since the Unix epoch
}

func seqOf(key []byte) uint64 { return binary.BigEndian.Uint64(key) }

// Read returns committed messages in the order of their seqs, from after+1 to
// upTo, that are neither acknowledged nor in skip: as many as fit maxBytes,
// but at least one if there is any. What a damaged segment holds is passed
// over until it is repaired, and is then readable or named lost.
func (o *Outbox) Read(after, upTo uint64, maxBytes int, skip protocol.Set) ([]Stored, error) {
	o.mu.Lock()
	upTo = min(upTo, o.head)
	spans := o.spans()
	done := o.acked.Clone()
	done.AddSet(o.lost)
	o.mu.Unlock()
	done.AddSet(skip)
	var out []Stored
	bytes := 0
	for _, s := range spans {
		if after >= upTo || bytes >= maxBytes && len(out) > 0 {
			break
		}
		first, last := max(s.first, after+1), min(s.last, upTo)
		if first > last {
			continue
		}
		for _, want := range done.Missing(first, last).Ranges() {
			full, err := o.readRange(s.segment, want, &out, &bytes, maxBytes)
			if err != nil {
				o.suspect(s.segment, err)
				break
			}
			if full {
				return out, nil
			}
		}
	}
	return out, nil
}

// readRange appends the messages of one range to out, and reports whether
// maxBytes are reached.
func (o *Outbox) readRange(s *segment, want protocol.Range, out *[]Stored, bytes *int, maxBytes int) (full bool, err error) {
	next := want.First
	err = s.read(want.First, want.Last, func(seq, _ uint64, data []byte) (bool, error) {
		if seq != next {
			return false, &DamageError{Path: s.path, Reason: "a message is missing"}
		}
		next++
		if *bytes+len(data) > maxBytes && len(*out) > 0 {
			full = true
			return false, nil
		}
		m, err := stored(seq, append([]byte(nil), data...))
		if err != nil {
			return false, err
		}
		*bytes += len(data)
		*out = append(*out, m)
		return true, nil
	})
	if err == nil && !full && next != want.Last+1 {
		s.use.RLock()
		defer s.use.RUnlock()
		if !s.gone {
			err = &DamageError{Path: s.path, Reason: "a message is missing"}
		}
	}
	return full, err
}

// span is a segment and the seqs it had when its owner was asked.
type span struct {
	*segment
	first, last uint64
}

// spans returns the segments that can be read. The caller holds mu.
func (o *Outbox) spans() []span {
	out := make([]span, 0, len(o.segments))
	for _, s := range o.segments {
		if s.err == nil && s.first <= s.last {
			out = append(out, span{s, s.first, s.last})
		}
	}
	return out
}

// suspect marks a segment for repair by Run.
func (o *Outbox) suspect(s *segment, err error) {
	o.mu.Lock()
	known := s.err != nil
	if !known {
		s.err = err
	}
	o.mu.Unlock()
	if !known {
		o.kick()
	}
}

// read calls visit for the records of seqs from..to in order.
func (s *segment) read(from, to uint64, visit func(seq uint64, run uint64, data []byte) (bool, error)) error {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.gone {
		return nil
	}
	if s.db != nil {
		return guard(func() error { return s.readBolt(from, s.records(from, to, visit)) })
	}
	p, err := openPages(s.path)
	if err != nil {
		return err
	}
	defer p.close()
	done := false
	each := s.records(from, to, visit)
	err = p.scan(messagesBucket, seqKey(from), func(key, value []byte) (bool, error) {
		more, err := each(key, value)
		done = !more
		return more, err
	})
	if err != nil || done {
		return err
	}
	return p.hot(each)
}

// records returns a function that takes blocks and calls visit for those of
// their records that are in from..to.
func (s *segment) records(from, to uint64, visit func(seq uint64, run uint64, data []byte) (bool, error)) func(key, value []byte) (bool, error) {
	return func(key, value []byte) (more bool, err error) {
		if len(key) != 8 {
			return false, &DamageError{Path: s.path, Reason: "a key that is no seq"}
		}
		more = true
		whole := eachRecord(seqOf(key), value, func(seq uint64, record []byte) bool {
			if seq < from {
				return true
			}
			if more = seq <= to; !more {
				return false
			}
			run, data, ok := decodeRecord(seqKey(seq), record)
			if !ok {
				err = &DamageError{Path: s.path, Reason: fmt.Sprintf("the checksum of message %d is wrong", seq)}
				return false
			}
			more, err = visit(seq, run, data)
			return more && err == nil
		})
		if err == nil && !whole {
			err = &DamageError{Path: s.path, Reason: fmt.Sprintf("the lengths in the block of message %d are wrong", seqOf(key))}
		}
		return more && err == nil, err
	}
}

func (s *segment) readBolt(from uint64, each func(key, value []byte) (bool, error)) error {
	return s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(messagesBucket).Cursor()
		k, v := c.Seek(seqKey(from))
		if k == nil {
			k, v = c.Last()
		} else if seqOf(k) > from {
			if pk, pv := c.Prev(); pk != nil {
				k, v = pk, pv
			} else {
				k, v = c.First()
			}
		}
		for ; k != nil; k, v = c.Next() {
			if more, err := each(k, v); err != nil || !more {
				return err
			}
		}
		c = tx.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if v == nil { // a bucket
				continue
			}
			if more, err := each(k, v); err != nil || !more {
				return err
			}
		}
		return nil
	})
}
