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

// A segment's root bucket holds these two, and beside them the newest messages
// (hot): a commit of one message then writes two pages, the root's and a meta
// page. When the root's page is full they move into blocks, which are sized so
// that two of them, with what bbolt puts around them, fill two pages to the end
// (bbolt splits a full leaf so that the last three of its elements go on).
var (
	messagesBucket = []byte("m") // seq, 8 bytes big endian: block that begins with it
	schemasBucket  = []byte("s") // schema id: block of one record
)

// segment is one file of consecutive seqs.
type segment struct {
	path        string
	first, last uint64 // last is first-1 while it is empty
	bytes       int64

	use   sync.RWMutex // read-locked while the file is read, locked to close, replace or remove it
	db    *bolt.DB     // while it is the active one
	gone  bool
	named protocol.Set // seqs in it that queued dropped messages name
	level int          // classes of messages that were given up to keep to the budget
	tight bool         // it holds little that need not be kept
	err   error        // why it is in need of repair; under Outbox.mu
}

// active is the segment being written.
type active struct {
	seg     *segment
	file    *os.File
	schemas map[protocol.SchemaID]bool // those it holds
	tail
}

func segmentName(first uint64) string { return fmt.Sprintf("seg-%016x.db", first) }

const (
	allocSize   = 64 << 10 // files grow by this: more is slack on the disk, less is more flushes
	lockTimeout = 2 * time.Second
)

// openBolt opens a segment for writing, a new one or one that [Outbox.check]
// has found whole.
func (o *Outbox) openBolt(path string) (db *bolt.DB, file *os.File, err error) {
	opts := &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true, NoStatistics: true, NoSync: o.noSync,
		FreelistType: bolt.FreelistArrayType, // takes the lowest free page, so what is written stays together
		PageSize:     o.cfg.PageSize,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			if err == nil {
				adviseRandom(f)
				file = f
			}
			return f, err
		}}
	if runtime.GOOS != "windows" { // where mapping does not make the file as large as the map
		opts.InitialMmapSize = int(o.cfg.SegmentBytes + 2*maxBatch)
	}
	err = guard(func() (err error) {
		db, err = bolt.Open(path, 0o640, opts)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("outbox: open segment %s: %w", path, err)
	}
	db.AllocSize = allocSize
	return db, file, nil
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
	if err := o.create(seg); err != nil {
		os.Remove(seg.path)
		return fmt.Errorf("outbox: make segment: %w", err)
	}
	o.mu.Lock()
	o.segments = append(o.segments, seg)
	o.mu.Unlock()
	return nil
}

// create makes a segment's file. It is closed and opened again so that the
// four pages that bbolt writes in one piece leave the page cache: Linux may
// keep them as one large folio, and then counts and writes more than a page
// for every page in it that changes.
func (o *Outbox) create(seg *segment) error {
	db, _, err := o.openBolt(seg.path)
	if err != nil {
		return err
	}
	err = guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			if _, err := tx.CreateBucket(messagesBucket); err != nil {
				return err
			}
			_, err := tx.CreateBucket(schemasBucket)
			return err
		})
	})
	if cerr := guard(db.Close); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return o.reopen(seg)
}

// reopen makes a whole segment the active one. Going on with one from an
// earlier run keeps a gateway that restarts often from having many small files.
func (o *Outbox) reopen(seg *segment) error {
	t, err := readTail(seg.path)
	if err != nil {
		return err
	}
	dropCached(seg.path)
	db, file, err := o.openBolt(seg.path)
	if err != nil {
		return err
	}
	if err = o.syncDir(); err == nil {
		o.active = &active{seg: seg, file: file, schemas: map[protocol.SchemaID]bool{}, tail: t}
		err = o.saveMeta(false, seg.first)
	}
	if err != nil {
		o.active = nil
		_ = guard(db.Close)
		return err
	}
	seg.use.Lock()
	seg.db = db
	seg.use.Unlock()
	return nil
}

// write puts a batch into the active segment and flushes it. It returns the
// bytes that the segment then has in use.
func (o *Outbox) write(batch []*Ticket) (size int64, err error) {
	a := o.active
	t, moved := a.tail, false
	var added []protocol.SchemaID
	err = guard(func() error {
		return a.seg.db.Update(func(tx *bolt.Tx) (err error) {
			if added, err = putSchemas(tx, a.schemas, batch); err != nil {
				return err
			}
			moved, err = t.put(tx, o.run, batch, hotLimit(o.active.pageSize()))
			size = tx.Size()
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	a.tail = t
	for _, id := range added {
		a.schemas[id] = true
	}
	if moved {
		dropCachedFile(a.file)
	}
	return size, nil
}

func (a *active) pageSize() int { return a.seg.db.Info().PageSize }

func putSchemas(tx *bolt.Tx, have map[protocol.SchemaID]bool, batch []*Ticket) (added []protocol.SchemaID, err error) {
	for _, t := range batch {
		if t.schema == nil || have[t.schema.ID()] {
			continue
		}
		id := t.schema.ID()
		if n := len(added); n > 0 && added[n-1] == id {
			continue
		}
		if err := tx.Bucket(schemasBucket).Put(id[:], appendRecord(nil, id[:], 0, t.schema.Encoded())); err != nil {
			return nil, err
		}
		added = append(added, id)
	}
	return added, nil
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

// schema looks a schema up in the segment; nil if it is not there.
func (s *segment) schema(id protocol.SchemaID) *protocol.Schema {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.gone {
		return nil
	}
	if s.db != nil { // those of this run are in memory; one from an earlier run may hold others
		var found *protocol.Schema
		_ = guard(func() error {
			return s.db.View(func(tx *bolt.Tx) error {
				found = schemaIn(id, tx.Bucket(schemasBucket).Get(id[:]))
				return nil
			})
		})
		return found
	}
	p, err := openPages(s.path)
	if err != nil {
		return nil
	}
	defer p.close()
	var found *protocol.Schema
	_ = p.scan(schemasBucket, id[:], func(key, value []byte) (bool, error) {
		if string(key) == string(id[:]) {
			found = schemaIn(id, value)
			return false, nil
		}
		return true, nil
	})
	return found
}

// schemaIn reads the block of a schema; nil if it holds none.
func schemaIn(id protocol.SchemaID, block []byte) (found *protocol.Schema) {
	eachRecord(0, block, func(_ uint64, record []byte) bool {
		if run, data, ok := decodeRecord(id[:], record); ok && run == 0 {
			found, _ = protocol.DecodeSchema(data)
		}
		return false
	})
	return found
}
