package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// pageFile reads a bbolt file (format version 2) by pread, believing nothing
// in it: bbolt itself maps the file and panics, or is killed by SIGBUS, when
// a page is not what it should be. Every length, offset and page number is
// checked before use. Only the segment being written is open in bbolt.
type pageFile struct {
	f        *os.File
	path     string
	size     int64
	pageSize int64
	root     uint64 // page of the root bucket
	limit    uint64 // pages in use end here
	txid     uint64
	oneMeta  bool // one of the two meta pages is not valid
	visited  uint64
}

const (
	pageHeader = 16 // id uint64, flags uint16, count uint16, overflow uint32
	elemSize   = 16 // of branch and leaf elements alike
	branchPage = 0x01
	leafPage   = 0x02
	metaPage   = 0x04
	bucketElem = 0x01
	boltMagic  = 0xED0CDAED
	metaBytes  = 64 // up to and with the checksum
	maxDepth   = 24
	maxValue   = 1 << 20 // no record of ours is larger
)

var native = binary.NativeEndian

type metaPageData struct {
	pageSize, root, limit, txid uint64
}

func openPages(path string) (*pageFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("outbox: open segment: %w", err)
	}
	p := &pageFile{f: f, path: path}
	info, err := f.Stat()
	if err == nil {
		p.size = info.Size()
		err = p.loadMeta()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return p, nil
}

func (p *pageFile) close() error { return p.f.Close() }

func (p *pageFile) damage(page uint64, format string, args ...any) error {
	return &DamageError{Path: p.path, Page: page, Reason: fmt.Sprintf(format, args...)}
}

// loadMeta finds the two meta pages and takes the newer one.
func (p *pageFile) loadMeta() error {
	m0, ok0 := p.meta(0)
	var m1 metaPageData
	ok1 := false
	if ok0 {
		m1, ok1 = p.meta(int64(m0.pageSize))
		ok1 = ok1 && m1.pageSize == m0.pageSize
	} else {
		for size := int64(512); size <= 1<<16 && !ok1; size *= 2 {
			m1, ok1 = p.meta(size)
			ok1 = ok1 && m1.pageSize == uint64(size)
		}
	}
	m := m0
	switch {
	case !ok0 && !ok1:
		return p.damage(0, "both meta pages are not valid")
	case !ok0 || ok1 && m1.txid > m0.txid:
		m = m1
	}
	p.oneMeta = ok0 != ok1
	p.pageSize, p.root, p.limit, p.txid = int64(m.pageSize), m.root, m.limit, m.txid
	return nil
}

func (p *pageFile) meta(at int64) (m metaPageData, ok bool) {
	var b [pageHeader + metaBytes]byte
	if _, err := p.f.ReadAt(b[:], at); err != nil {
		return m, false
	}
	d := b[pageHeader:]
	h := fnv.New64a()
	h.Write(d[:56])
	m = metaPageData{pageSize: uint64(native.Uint32(d[8:])), root: native.Uint64(d[16:]),
		limit: native.Uint64(d[40:]), txid: native.Uint64(d[48:])}
	ok = native.Uint16(b[8:])&metaPage != 0 && native.Uint32(d) == boltMagic && native.Uint32(d[4:]) == 2 &&
		native.Uint64(d[56:]) == h.Sum64() &&
		m.pageSize >= 512 && m.pageSize <= 1<<16 && m.pageSize&(m.pageSize-1) == 0 &&
		m.limit < 1<<32 && m.root < m.limit
	return m, ok
}

// page is a checked page: every element's key and value lie inside it.
type page struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint64
	data     []byte
}

func (p *pageFile) read(id uint64) (page, error) {
	if id < 2 || id >= p.limit {
		return page{}, p.damage(id, "no such page")
	}
	if p.visited++; p.visited > p.limit {
		return page{}, p.damage(id, "pages refer to each other in a circle")
	}
	return p.readAny(id)
}

func (p *pageFile) readAny(id uint64) (page, error) {
	var h [pageHeader]byte
	if _, err := p.f.ReadAt(h[:], int64(id)*p.pageSize); err != nil {
		return page{}, p.readError(id, err)
	}
	pg := page{id: id, flags: native.Uint16(h[8:]), count: int(native.Uint16(h[10:])), overflow: uint64(native.Uint32(h[12:]))}
	if got := native.Uint64(h[:]); got != id {
		return page{}, p.damage(id, "it says that it is page %d", got)
	}
	n := int64(pg.overflow+1) * p.pageSize
	if pg.overflow > uint64(maxValue+1<<16)/uint64(p.pageSize) || int64(id)*p.pageSize+n > p.size {
		return page{}, p.damage(id, "its %d further pages do not fit the file", pg.overflow)
	}
	pg.data = make([]byte, n)
	if _, err := p.f.ReadAt(pg.data, int64(id)*p.pageSize); err != nil {
		return page{}, p.readError(id, err)
	}
	return pg, p.checkElements(&pg)
}

func (p *pageFile) readError(id uint64, err error) error {
	if errors.Is(err, io.EOF) {
		return p.damage(id, "the file ends before it")
	}
	return p.damage(id, "reading it: %v", err)
}

func (p *pageFile) checkElements(pg *page) error {
	if pg.flags != leafPage && pg.flags != branchPage {
		return p.damage(pg.id, "its kind %#x is neither leaf nor branch", pg.flags)
	}
	if pageHeader+pg.count*elemSize > len(pg.data) || pg.flags == branchPage && pg.count == 0 {
		return p.damage(pg.id, "%d elements", pg.count)
	}
	var last []byte
	for i := range pg.count {
		key, _, _, ok := pg.element(i)
		if !ok {
			return p.damage(pg.id, "element %d points out of the page", i)
		}
		if i > 0 && bytes.Compare(key, last) <= 0 {
			return p.damage(pg.id, "element %d is out of order", i)
		}
		last = key
	}
	return nil
}

// element returns the key of element i, and its value and flags in a leaf or
// its child in a branch (as 8 bytes in native order).
func (pg *page) element(i int) (key, value []byte, flags uint32, ok bool) {
	at := pageHeader + i*elemSize
	e := pg.data[at : at+elemSize]
	var pos, klen, vlen uint64
	if pg.flags == branchPage {
		pos, klen = uint64(native.Uint32(e)), uint64(native.Uint32(e[4:]))
	} else {
		flags, pos = native.Uint32(e), uint64(native.Uint32(e[4:]))
		klen, vlen = uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
	}
	start, end := uint64(at)+pos, uint64(at)+pos+klen+vlen
	if start < uint64(pageHeader+pg.count*elemSize) || end > uint64(len(pg.data)) {
		return nil, nil, 0, false
	}
	key = pg.data[start : start+klen]
	if pg.flags == branchPage {
		return key, e[8:16], 0, true
	}
	return key, pg.data[start+klen : end], flags, true
}

// bucket returns the root page of a bucket of the root bucket, or its inline
// page; both are zero if the file has no such bucket.
func (p *pageFile) bucket(name []byte) (root uint64, inline *page, err error) {
	p.visited = 0
	err = p.descend(p.root, name, 0, func(key, value []byte, flags uint32) (bool, error) {
		if !bytes.Equal(key, name) {
			return bytes.Compare(key, name) < 0, nil
		}
		if flags != bucketElem || len(value) < 16 {
			return false, p.damage(p.root, "bucket %q is no bucket", name)
		}
		if root = native.Uint64(value); root != 0 {
			return false, nil
		}
		data := append([]byte(nil), value[16:]...)
		if len(data) < pageHeader {
			return false, p.damage(p.root, "bucket %q is cut short", name)
		}
		inline = &page{id: p.root, flags: native.Uint16(data[8:]), count: int(native.Uint16(data[10:])), data: data}
		if inline.flags != leafPage {
			return false, p.damage(p.root, "bucket %q is cut short", name)
		}
		return false, p.checkElements(inline)
	})
	return root, inline, err
}

// scan calls visit with the keys of a bucket in order, from the last one that
// is not after from (or the first of all), until it returns false.
func (p *pageFile) scan(bucket, from []byte, visit func(key, value []byte) (bool, error)) error {
	root, inline, err := p.bucket(bucket)
	if err != nil {
		return err
	}
	if root == 0 && inline == nil {
		return p.damage(p.root, "bucket %q is missing", bucket)
	}
	p.visited = 0
	var last []byte
	each := func(key, value []byte, flags uint32) (bool, error) {
		if flags != 0 || last != nil && bytes.Compare(key, last) <= 0 {
			return false, p.damage(root, "keys out of order")
		}
		last = append(last[:0], key...)
		return visit(key, value)
	}
	if inline != nil {
		_, err = p.leaf(inline, from, each)
		return err
	}
	return p.descend(root, from, 0, each)
}

// hot calls visit with what stands in the root bucket beside the buckets.
func (p *pageFile) hot(visit func(key, value []byte) (bool, error)) error {
	p.visited = 0
	return p.descend(p.root, nil, 0, func(key, value []byte, flags uint32) (bool, error) {
		if flags == bucketElem {
			return true, nil
		}
		if len(key) != 8 {
			return false, p.damage(p.root, "a key that is no seq")
		}
		return visit(key, value)
	})
}

var errStop = errors.New("stop")

func (p *pageFile) descend(id uint64, from []byte, depth int, visit func(key, value []byte, flags uint32) (bool, error)) error {
	err := p.walk(id, from, depth, visit)
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func (p *pageFile) walk(id uint64, from []byte, depth int, visit func(key, value []byte, flags uint32) (bool, error)) error {
	if depth > maxDepth {
		return p.damage(id, "the tree is deeper than %d", maxDepth)
	}
	pg, err := p.read(id)
	if err != nil {
		return err
	}
	if pg.flags == leafPage {
		more, err := p.leaf(&pg, from, visit)
		if err == nil && !more {
			err = errStop
		}
		return err
	}
	for i := range pg.count {
		if i+1 < pg.count {
			if next, _, _, _ := pg.element(i + 1); bytes.Compare(next, from) <= 0 {
				continue // all of child i is before from
			}
		}
		_, child, _, _ := pg.element(i)
		if err := p.walk(native.Uint64(child), from, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

func (p *pageFile) leaf(pg *page, from []byte, visit func(key, value []byte, flags uint32) (bool, error)) (bool, error) {
	for i := range pg.count {
		key, value, flags, _ := pg.element(i)
		if i+1 < pg.count {
			if next, _, _, _ := pg.element(i + 1); bytes.Compare(next, from) <= 0 {
				continue
			}
		}
		if more, err := visit(key, value, flags); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}
