package outbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidemark/protocol"
)

const maxAside = 16 // damaged files kept for inspection

// repair replaces each damaged segment by one that holds what is left in it.
// What is not left is named in a dropped message, which is committed before
// the segment changes; after a crash in between, the repair begins anew and
// finds that everything missing is named already.
func (o *Outbox) repair() {
	if time.Now().Before(o.repairNext) {
		return
	}
	o.mu.Lock()
	var bad []*segment
	for _, s := range o.segments {
		if s.err != nil {
			bad = append(bad, s)
		}
	}
	o.mu.Unlock()
	for _, s := range bad {
		if err := o.repairOne(s); err != nil {
			if text := err.Error(); text != o.repairErr {
				o.log.Error("outbox cannot repair a damaged segment yet, trying again", "path", s.path, "err", err)
				o.repairErr = text
			}
			o.repairNext = time.Now().Add(retryMax)
			return
		}
		o.repairErr = ""
	}
}

func (o *Outbox) repairOne(s *segment) error {
	if o.active != nil && o.active.seg == s {
		if err := o.sealActive(); err != nil {
			o.log.Warn("outbox closed a damaged segment with an error", "path", s.path, "err", err)
		}
	}
	left := scanFile(s.path)
	o.mu.Lock()
	cause := s.err
	want := o.openSeqs(s)
	o.mu.Unlock()
	var keep, missing protocol.Set
	for _, r := range want.Ranges() {
		for seq := r.First; ; seq++ {
			if _, ok := left.messages[seq]; ok && left.epoch == o.epoch {
				keep.Add(seq, seq)
			} else {
				missing.Add(seq, seq)
			}
			if seq == r.Last {
				break
			}
		}
	}
	if !missing.Empty() {
		from, to := left.around(missing)
		text := fmt.Sprintf("A segment of the outbox was damaged; %d messages in it could be saved.", keep.Count())
		if err := o.commitLost(s, missing, protocol.CauseCorrupt, text, from, to); err != nil {
			return err
		}
	}
	if err := o.setAside(s); err != nil {
		return err
	}
	if err := o.rewrite(s, keep, left); err != nil {
		return err
	}
	o.log.Warn("outbox repaired a damaged segment", "path", s.path, "saved", keep.Count(), "lost", missing.Count(), "err", cause)
	o.mu.Lock()
	s.err = nil
	o.mu.Unlock()
	return nil
}

// openSeqs returns the seqs of a segment that are neither acknowledged nor
// given up. The caller holds mu.
func (o *Outbox) openSeqs(s *segment) protocol.Set {
	if s.last < s.first {
		return protocol.Set{}
	}
	return protocol.SetOf(protocol.Range{First: s.first, Last: s.last}).Minus(o.acked).Minus(o.lost)
}

// around returns the times of the found messages next to the missing ones, 0
// where there is none.
func (s *salvaged) around(missing protocol.Set) (from, to int64) {
	var below, above uint64
	for seq := range s.messages {
		if seq < missing.Min() && seq > below {
			below = seq
		}
		if seq > missing.Max() && (above == 0 || seq < above) {
			above = seq
		}
	}
	time := func(seq uint64) int64 {
		m, err := stored(seq, s.messages[seq].data)
		if seq == 0 || err != nil {
			return 0
		}
		return m.Time
	}
	return time(below), time(above)
}

// commitLost names seqs of a segment in dropped messages and returns when
// these are committed. After an error it may be called again.
func (o *Outbox) commitLost(s *segment, seqs protocol.Set, cause, text string, from, to int64) error {
	if fresh := seqs.Minus(s.named); !fresh.Empty() {
		o.reportLost(fresh, cause, text, from, to)
		s.named.AddSet(fresh)
	}
	for {
		o.mu.Lock()
		left := seqs.Minus(o.lost).Minus(o.acked)
		o.mu.Unlock()
		if left.Empty() {
			return nil
		}
		if err := o.commitOnce(); err != nil {
			return err
		}
	}
}

// setAside gives a damaged file a second name, under which it stays.
func (o *Outbox) setAside(s *segment) error {
	name := fmt.Sprintf("%s%016x-%d.db", asidePrefix, s.first, o.run)
	path := o.path(name)
	err := os.Link(s.path, path)
	if err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, os.ErrNotExist) {
		if err = copyFile(s.path, path); err != nil { // a file system without links
			return fmt.Errorf("outbox: set a damaged segment aside: %w", err)
		}
	}
	if err != nil {
		return nil
	}
	size := int64(0)
	if info, err := os.Stat(path); err == nil {
		size = info.Size()
	}
	o.mu.Lock()
	o.aside = append(o.aside, quarantined{name: name, first: s.first, bytes: size})
	drop := o.aside[:max(0, len(o.aside)-maxAside)]
	o.aside = slices.Clone(o.aside[len(drop):])
	o.mu.Unlock()
	for _, q := range drop {
		os.Remove(o.path(q.name))
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(to)
	}
	return err
}

// rewrite replaces a sealed segment's file by one that holds only keep, or
// removes it if that is nothing. Why the others are not there any more must be
// on the disk before: seqs that are missing without a known reason would be
// reported as lost.
func (o *Outbox) rewrite(s *segment, keep protocol.Set, from *salvaged) error {
	if err := o.saveMeta(false, 0); err != nil {
		return err
	}
	if keep.Empty() {
		return o.remove(s)
	}
	temp := s.path + ".tmp"
	size, err := o.writeFile(temp, keep, from)
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("outbox: rewrite segment %s: %w", filepath.Base(s.path), err)
	}
	s.use.Lock()
	err = os.Rename(temp, s.path)
	s.use.Unlock()
	if err == nil {
		err = o.syncDir()
	}
	if err != nil {
		return fmt.Errorf("outbox: replace segment %s: %w", filepath.Base(s.path), err)
	}
	o.mu.Lock()
	s.bytes = size
	o.mu.Unlock()
	return nil
}

// writeFile makes a segment file of messages that are not dense.
func (o *Outbox) writeFile(path string, keep protocol.Set, from *salvaged) (size int64, err error) {
	os.Remove(path)
	db, _, err := o.openBolt(path)
	if err != nil {
		return 0, err
	}
	err = guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			m, err := tx.CreateBucket(messagesBucket)
			if err != nil {
				return err
			}
			schemas, err := tx.CreateBucket(schemasBucket)
			if err != nil {
				return err
			}
			for id, data := range from.schemas {
				if err := schemas.Put(id[:], appendRecord(nil, id[:], 0, data)); err != nil {
					return err
				}
			}
			m.FillPercent = 1
			return putSparse(m, keep, from, blockLimit(db.Info().PageSize))
		})
	})
	if err == nil {
		err = guard(func() error {
			return db.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil })
		})
	}
	if cerr := guard(db.Close); err == nil {
		err = cerr
	}
	if err == nil {
		err = shrink(path, size)
	}
	return size, err
}

// putSparse writes messages in blocks of consecutive seqs.
func putSparse(m *bolt.Bucket, keep protocol.Set, from *salvaged, full int) error {
	for _, r := range keep.Ranges() {
		var block []byte
		first := r.First
		for seq := r.First; ; seq++ {
			f := from.messages[seq]
			record := appendRecord(nil, seqKey(seq), f.run, f.data)
			if len(block) > 0 && len(block)+len(record) > full {
				if err := m.Put(seqKey(first), block); err != nil {
					return err
				}
				block, first = nil, seq
			}
			block = append(block, record...)
			if seq == r.Last {
				break
			}
		}
		if err := m.Put(seqKey(first), block); err != nil {
			return err
		}
	}
	return nil
}
