package outbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidemark/protocol"
)

var (
	messagesBucket = []byte("m") // seq, 8 bytes big endian: record of a message
	schemasBucket  = []byte("s") // schema id: record of a schema
)

// segment is one file of consecutive seqs.
type segment struct {
	path        string
	first, last uint64 // last is first-1 while it is empty
	bytes       int64

	use   sync.RWMutex // read-locked while the file is read, locked to close, replace or remove it
	db    *bolt.DB     // while it is the active one
	pages *pageFile    // of a sealed segment, once it was read
	gone  bool
	err   error // why it is in need of repair; under Outbox.mu
}

// active is the segment being written.
type active struct {
	seg     *segment
	schemas map[protocol.SchemaID]bool // those it holds
}

func segmentName(first uint64) string { return fmt.Sprintf("seg-%016x.db", first) }

const (
	allocSize   = 64 << 10 // files grow by this: more is slack on the disk, less is more flushes
	lockTimeout = 2 * time.Second
)

// openBolt opens a segment for writing, a new one or one that [check] has
// found whole.
func (o *Outbox) openBolt(path string) (db *bolt.DB, err error) {
	opts := &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
		PageSize: o.cfg.PageSize, NoStatistics: true, NoSync: o.noSync}
	if runtime.GOOS != "windows" { // where mapping does not make the file as large as the map
		opts.InitialMmapSize = int(o.cfg.SegmentBytes + 2*maxBatch)
	}
	err = guard(func() (err error) {
		db, err = bolt.Open(path, 0o640, opts)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("outbox: open segment %s: %w", path, err)
	}
	db.AllocSize = allocSize
	return db, nil
}

// guard runs fn and turns a panic of bbolt, and a fault in the memory it maps
// (a disk that fails to give a page back), into an error.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bbolt failed: %v", r)
		}
	}()
	return fn()
}

// newActive makes the segment that begins with first, or goes on with the
// newest one where that has room. When it returns, the file, its name in the
// folder and the state that names it are on the disk.
func (o *Outbox) newActive(first uint64) error {
	seg := o.reuse
	o.reuse = nil
	if seg != nil && seg.last+1 == first && !seg.gone {
		if err := o.reopen(seg); err == nil {
			return nil
		}
	}
	seg = &segment{path: o.path(segmentName(first)), first: first, last: first - 1}
	if err := os.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) { // a leftover that holds nothing committed
		return fmt.Errorf("outbox: make segment: %w", err)
	}
	db, err := o.openBolt(seg.path)
	if err != nil {
		os.Remove(seg.path)
		return err
	}
	if err := o.begin(seg, db); err != nil {
		_ = guard(db.Close)
		os.Remove(seg.path)
		return fmt.Errorf("outbox: make segment: %w", err)
	}
	o.mu.Lock()
	o.segments = append(o.segments, seg)
	o.mu.Unlock()
	return nil
}

// begin makes db the active segment.
func (o *Outbox) begin(seg *segment, db *bolt.DB) error {
	err := guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			if _, err := tx.CreateBucketIfNotExists(messagesBucket); err != nil {
				return err
			}
			_, err := tx.CreateBucketIfNotExists(schemasBucket)
			return err
		})
	})
	if err != nil {
		return err
	}
	if err := syncDir(o.cfg.Dir); err != nil {
		return err
	}
	o.active = &active{seg: seg, schemas: map[protocol.SchemaID]bool{}}
	if err := o.saveMeta(false, seg.first); err != nil {
		o.active = nil
		return err
	}
	seg.use.Lock()
	seg.db = db
	seg.use.Unlock()
	return nil
}

// reopen goes on with a segment that this run has checked from end to end, so
// that a gateway that restarts often does not end up with many small files.
func (o *Outbox) reopen(seg *segment) error {
	db, err := o.openBolt(seg.path)
	if err != nil {
		return err
	}
	if err := o.begin(seg, db); err != nil {
		_ = guard(db.Close)
		return err
	}
	return nil
}

// write puts a batch into the active segment and flushes it. It returns the
// bytes that the segment then has in use.
func (o *Outbox) write(batch []*Ticket) (size int64, err error) {
	a := o.active
	var added []protocol.SchemaID
	err = guard(func() error {
		return a.seg.db.Update(func(tx *bolt.Tx) error {
			m, s := tx.Bucket(messagesBucket), tx.Bucket(schemasBucket)
			m.FillPercent, s.FillPercent = 1, 1
			for _, t := range batch {
				if t.schema != nil && !a.schemas[t.schema.ID()] {
					id := t.schema.ID()
					if err := s.Put(id[:], encodeRecord(id[:], 0, t.schema.Encoded())); err != nil {
						return err
					}
					a.schemas[id] = true
					added = append(added, id)
				}
				key := seqKey(t.seq)
				if err := m.Put(key, encodeRecord(key, o.run, t.data)); err != nil {
					return err
				}
			}
			size = tx.Size()
			return nil
		})
	})
	if err != nil {
		for _, id := range added {
			delete(a.schemas, id)
		}
	}
	return size, err
}

// sealActive closes the active segment. The slack behind its last page is cut off.
func (o *Outbox) sealActive() error {
	if o.active == nil {
		return nil
	}
	seg := o.active.seg
	o.active = nil
	seg.use.Lock()
	defer seg.use.Unlock()
	used := int64(0)
	err := guard(func() error {
		if err := seg.db.View(func(tx *bolt.Tx) error { used = tx.Size(); return nil }); err != nil {
			return err
		}
		return seg.db.Close()
	})
	seg.db = nil
	if err == nil {
		err = shrink(seg.path, used)
	}
	if err != nil {
		return fmt.Errorf("outbox: close segment %s: %w", seg.path, err)
	}
	o.mu.Lock()
	seg.bytes = used
	o.mu.Unlock()
	return nil
}

// shrink cuts a file to size, if it is longer, and flushes it.
func shrink(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= size {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

// read calls visit for the records of seqs from..to in order.
func (s *segment) read(from, to uint64, visit func(seq uint64, run uint64, data []byte) (bool, error)) error {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.gone {
		return nil
	}
	each := func(key, value []byte) (bool, error) {
		if len(key) != 8 {
			return false, &DamageError{Path: s.path, Reason: "a key that is no seq"}
		}
		seq := seqOf(key)
		if seq > to {
			return false, nil
		}
		run, data, ok := decodeRecord(key, value)
		if !ok {
			return false, &DamageError{Path: s.path, Reason: fmt.Sprintf("the checksum of message %d is wrong", seq)}
		}
		return visit(seq, run, data)
	}
	if s.db != nil {
		return guard(func() error { return s.readBolt(from, each) })
	}
	p, err := openPages(s.path)
	if err != nil {
		return err
	}
	defer p.close()
	return p.scan(messagesBucket, seqKey(from), each)
}

func (s *segment) readBolt(from uint64, each func(key, value []byte) (bool, error)) error {
	return s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(messagesBucket).Cursor()
		for k, v := c.Seek(seqKey(from)); k != nil; k, v = c.Next() {
			if more, err := each(k, v); err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// schema looks a schema up in the segment; nil if it is not there.
func (s *segment) schema(id protocol.SchemaID) *protocol.Schema {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.gone || s.db != nil { // those of the active segment are in memory
		return nil
	}
	p, err := openPages(s.path)
	if err != nil {
		return nil
	}
	defer p.close()
	var found *protocol.Schema
	_ = p.scan(schemasBucket, id[:], func(key, value []byte) (bool, error) {
		if run, data, ok := decodeRecord(key, value); ok && run == 0 && string(key) == string(id[:]) {
			found, _ = protocol.DecodeSchema(data)
		}
		return false, nil
	})
	return found
}
