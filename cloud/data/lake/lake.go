package lake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// Row is one reading. At most one of the values is set; none is for a reading
// of bad quality.
type Row struct {
	Site    string   `parquet:"site,dict"`
	Gateway string   `parquet:"gateway,dict"`
	Device  string   `parquet:"device,dict"`
	Point   string   `parquet:"point,dict"`
	Unit    string   `parquet:"unit,dict"`
	Time    int64    `parquet:"time,timestamp(millisecond),delta"`
	RawTime int64    `parquet:"raw_time,timestamp(millisecond),delta"` // by the gateway's own clock
	Float   *float64 `parquet:"value_float,optional"`
	Int     *int64   `parquet:"value_int,optional"`
	Bool    *bool    `parquet:"value_bool,optional"`
	Text    *string  `parquet:"value_text,optional"`
	Quality string   `parquet:"quality,dict"` // good, uncertain, bad
	Reason  string   `parquet:"reason,dict"`
}

// rowGroup is how many rows a row group holds at most; it bounds the memory of
// writer and reader.
const rowGroup = 100_000

// ErrReadBack says that a part does not hold what was written to it.
var ErrReadBack = errors.New("lake: what was read back is not what was written")

const tmpSuffix = ".tmp"

// Part is a part that is being written.
type Part struct {
	path string
	file *os.File
	w    *parquet.GenericWriter[Row]
	rows int64
	sum  digest
}

// Create opens a part that will stand at path. Its folder is made.
func Create(path string) (*Part, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("lake: make the folder of %s: %w", path, err)
	}
	f, err := os.Create(path + tmpSuffix)
	if err != nil {
		return nil, fmt.Errorf("lake: create %s: %w", path, err)
	}
	return &Part{path: path, file: f, sum: newDigest(), w: parquet.NewGenericWriter[Row](f, parquet.MaxRowsPerRowGroup(rowGroup),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest, Concurrency: 1}), parquet.CreatedBy("tidemark", "1", ""))}, nil
}

// Write appends rows. They can be reused.
func (p *Part) Write(rows []Row) error {
	for i := range rows {
		p.sum.add(&rows[i])
	}
	n, err := p.w.Write(rows)
	p.rows += int64(n)
	if err != nil {
		return fmt.Errorf("lake: write %s: %w", p.path, err)
	}
	return nil
}

// Abort removes what was written.
func (p *Part) Abort() {
	_ = p.file.Close() // it goes away
	_ = os.Remove(p.path + tmpSuffix)
}

// Commit makes the part stand at its path, durably, in the place of one that
// stands there. It returns rows and bytes.
func (p *Part) Commit() (rows, size int64, err error) {
	defer func() {
		if err != nil {
			p.Abort()
		}
	}()
	if err := errors.Join(p.w.Close(), p.file.Sync(), p.file.Close()); err != nil {
		return 0, 0, fmt.Errorf("lake: write %s: %w", p.path, err)
	}
	if size, err = p.verify(); err != nil {
		return 0, 0, err
	}
	if err := os.Rename(p.path+tmpSuffix, p.path); err != nil {
		return 0, 0, fmt.Errorf("lake: %w", err)
	}
	for dir := filepath.Dir(p.path); ; dir = filepath.Dir(dir) { // the folders may be new too
		if err := syncDir(dir); err != nil {
			return 0, 0, err
		}
		if !strings.Contains(filepath.Base(dir), "=") {
			return p.rows, size, nil
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("lake: sync %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("lake: sync %s: %w", dir, err)
	}
	return nil
}

// verify reads the part back and compares it with what was written.
func (p *Part) verify() (size int64, err error) {
	sum, rows := newDigest(), int64(0)
	sum.seed(p.sum)
	size, err = Read(p.path+tmpSuffix, func(r []Row) error {
		for i := range r {
			sum.add(&r[i])
		}
		rows += int64(len(r))
		return nil
	})
	if err != nil {
		return 0, err
	}
	if rows != p.rows || sum.value() != p.sum.value() {
		return 0, fmt.Errorf("%w: %s has %d rows, %d were written", ErrReadBack, p.path, rows, p.rows)
	}
	return size, nil
}

// Read calls f with the rows of a part, in order and in pieces, which it must
// not keep. It returns the size of the file.
func Read(path string, f func([]Row) error) (size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("lake: %w", err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("lake: %w", err)
	}
	pf, err := parquet.OpenFile(file, st.Size())
	if err != nil {
		return 0, fmt.Errorf("lake: %s is no Parquet file: %w", path, err)
	}
	r := parquet.NewGenericReader[Row](pf)
	defer r.Close()
	rows := make([]Row, 1024)
	for {
		clear(rows)
		n, err := r.Read(rows)
		if n > 0 {
			if err := f(rows[:n]); err != nil {
				return 0, err
			}
		}
		if errors.Is(err, io.EOF) {
			return st.Size(), nil
		}
		if err != nil {
			return 0, fmt.Errorf("lake: read %s: %w", path, err)
		}
	}
}

// Clean removes what a crash left unfinished under dir.
func Clean(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, tmpSuffix) {
			return os.Remove(path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lake: clean %s: %w", dir, err)
	}
	return nil
}

// digest is a hash over rows in order.
type digest struct {
	h   *maphash.Hash
	buf []byte
}

func newDigest() digest { return digest{h: &maphash.Hash{}} }

func (d *digest) seed(o digest) { d.h.SetSeed(o.h.Seed()) }

func (d *digest) value() uint64 { return d.h.Sum64() }

func (d *digest) add(r *Row) {
	b := d.buf[:0]
	for _, s := range [...]string{r.Site, r.Gateway, r.Device, r.Point, r.Unit, r.Quality, r.Reason} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Time))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.RawTime))
	switch {
	case r.Float != nil:
		b = binary.LittleEndian.AppendUint64(append(b, 'f'), math.Float64bits(*r.Float))
	case r.Int != nil:
		b = binary.LittleEndian.AppendUint64(append(b, 'i'), uint64(*r.Int))
	case r.Bool != nil && *r.Bool:
		b = append(b, 'y')
	case r.Bool != nil:
		b = append(b, 'n')
	case r.Text != nil:
		b = append(append(b, 't'), *r.Text...)
	}
	b = append(b, 0)
	_, _ = d.h.Write(b) // it never fails
	d.buf = b
}
