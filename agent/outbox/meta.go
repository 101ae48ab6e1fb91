package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"tidemark/protocol"
)

// meta is what the outbox must know of itself beside its segments.
type meta struct {
	Gen     uint64             `cbor:"1,keyasint"` // grows with every save
	Epoch   uint64             `cbor:"2,keyasint"`
	Run     uint64             `cbor:"3,keyasint"`
	Reserve uint64             `cbor:"4,keyasint"`           // no seq above it has been committed
	Clean   bool               `cbor:"5,keyasint"`           // closed in order: Reserve is the highest seq ever given
	Active  uint64             `cbor:"6,keyasint"`           // first seq of the newest segment
	Acked   []uint64           `cbor:"7,keyasint"`           // pairs of first and last
	Lost    []uint64           `cbor:"8,keyasint,omitempty"` // as states of old have it
	Dropped uint64             `cbor:"9,keyasint"`
	Reports []protocol.Dropped `cbor:"10,keyasint"`

	LostPacked []byte `cbor:"11,keyasint,omitempty"` // as pack writes it
	StandIns   []byte `cbor:"12,keyasint,omitempty"`
	Thinned    uint64 `cbor:"13,keyasint,omitempty"`
}

// metaFiles keeps meta in two files, each with a checksum, and writes them one
// after the other in place, each with its own flush. Whatever moment the power
// goes at, one of the two is whole; a bad sector takes one of them; and, other
// than a rename, a write in place needs no free block, so a full disk does not
// stand in the way of opening.
type metaFiles struct {
	files [2]*os.File
	gen   uint64
}

var metaNames = [2]string{"outbox-a.meta", "outbox-b.meta"}

const (
	metaMagic = "tmobx1\x00\n"
	metaBlock = 4096 // a file is made with this size at least, so that its blocks exist
	metaMax   = 4 << 20
)

// openMeta opens the two files, makes them if missing, and returns the newest
// valid state; found is false if neither holds one.
func openMeta(dir string) (f *metaFiles, m meta, found bool, err error) {
	f = &metaFiles{}
	for i, name := range metaNames {
		if f.files[i], err = os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o640); err != nil {
			f.close()
			return nil, m, false, fmt.Errorf("outbox: open its state: %w", err)
		}
		got, err := readMeta(f.files[i])
		if err == nil && (!found || got.Gen > m.Gen) {
			m, found = got, true
		}
	}
	f.gen = m.Gen
	return f, m, found, nil
}

func (f *metaFiles) close() {
	for _, file := range f.files {
		if file != nil {
			file.Close()
		}
	}
}

var errMeta = errors.New("not a valid state")

func readMeta(file *os.File) (m meta, err error) {
	b, err := io.ReadAll(io.LimitReader(io.NewSectionReader(file, 0, metaMax+64), metaMax+64))
	if err != nil {
		return m, err
	}
	const head = len(metaMagic) + 8
	if len(b) < head || string(b[:len(metaMagic)]) != metaMagic {
		return m, errMeta
	}
	n := int64(binary.BigEndian.Uint32(b[len(metaMagic):]))
	sum := binary.BigEndian.Uint32(b[len(metaMagic)+4:])
	if n > int64(len(b)-head) || crc32.Checksum(b[head:head+int(n)], castagnoli) != sum {
		return m, errMeta
	}
	err = protocol.Unmarshal(b[head:head+int(n)], &m)
	if err == nil && m.Epoch == 0 {
		err = errMeta
	}
	return m, err
}

// save writes m to both files, one after the other.
func (f *metaFiles) save(m meta) error {
	f.gen++
	m.Gen = f.gen
	body, err := protocol.Marshal(m)
	if err != nil {
		return fmt.Errorf("outbox: encode its state: %w", err)
	}
	b := []byte(metaMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	b = append(b, body...)
	if len(b) < metaBlock {
		b = append(b, make([]byte, metaBlock-len(b))...)
	}
	for _, file := range f.files {
		if _, err := file.WriteAt(b, 0); err != nil {
			return fmt.Errorf("outbox: save its state: %w", err)
		}
		if err := file.Sync(); err != nil {
			return fmt.Errorf("outbox: save its state: %w", err)
		}
	}
	return nil
}

func flatten(s protocol.Set) []uint64 {
	out := make([]uint64, 0, 2*len(s.Ranges()))
	for _, r := range s.Ranges() {
		out = append(out, r.First, r.Last)
	}
	return out
}

func unflatten(flat []uint64) (s protocol.Set) {
	for i := 0; i+1 < len(flat); i += 2 {
		s.Add(flat[i], flat[i+1])
	}
	return s
}

// pack writes a set that may have very many ranges: for each the distance from
// the one before, and its length, as uvarints.
func pack(s protocol.Set) (out []byte) {
	prev := uint64(0)
	for _, r := range s.Ranges() {
		out = binary.AppendUvarint(binary.AppendUvarint(out, r.First-prev), r.Last-r.First)
		prev = r.Last
	}
	return out
}

func unpack(b []byte) (s protocol.Set) {
	prev := uint64(0)
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		if n <= 0 {
			return s
		}
		more, k := binary.Uvarint(b[n:])
		if k <= 0 {
			return s
		}
		s.Add(prev+gap, prev+gap+more)
		prev, b = prev+gap+more, b[n+k:]
	}
	return s
}

const (
	reserveMin   = 256
	reserveMax   = 65536
	reserveEvery = 30 * time.Second
	maxReports   = 32
)

// saveMeta saves the state with at least need in reserve. How far ahead it
// reserves follows the pace: a slow gateway skips few seqs when it must skip,
// a fast one saves seldom.
func (o *Outbox) saveMeta(clean bool, need uint64) error {
	o.mu.Lock()
	m := o.saved
	m.Epoch, m.Run, m.Clean = o.epoch, o.run, clean
	switch {
	case clean:
		m.Reserve = o.next - 1
	case need > m.Reserve:
		if now := time.Now(); now.Sub(o.reservedAt) < reserveEvery {
			o.reserveStep = min(o.reserveStep*4, reserveMax)
		} else {
			o.reserveStep = max(o.reserveStep/4, reserveMin)
		}
		m.Reserve = need + o.reserveStep
		o.reservedAt = time.Now()
	}
	if o.active != nil {
		m.Active = o.active.seg.first
	}
	o.collapse()
	m.Acked, m.Lost, m.LostPacked, m.StandIns = flatten(o.acked), nil, pack(o.lost), pack(o.standIns)
	m.Dropped, m.Thinned, m.Reports = o.dropped, o.thinned, o.reports
	o.mu.Unlock()
	if err := o.metaDo.save(m); err != nil {
		return err
	}
	o.saved = m
	return nil
}

// collapse forgets which of the seqs before the oldest segment were
// acknowledged and which were lost: nothing is left to do about either.
func (o *Outbox) collapse() {
	if len(o.segments) == 0 {
		return
	}
	below := o.segments[0].first - 1
	for _, r := range o.lost.Ranges() {
		if r.First <= below {
			o.acked.Add(r.First, min(r.Last, below))
		}
	}
	gone := protocol.SetOf(protocol.Range{First: 1, Last: below})
	o.lost, o.standIns = o.lost.Minus(gone), o.standIns.Minus(gone)
}
