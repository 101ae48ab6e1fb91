package lake

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

func rows(n int) []Row {
	out := make([]Row, n)
	for i := range out {
		r := &out[i]
		*r = Row{Site: "s", Gateway: "g", Device: "d", Point: fmt.Sprint("p", i%3), Time: int64(i), RawTime: -int64(i), Quality: "good"}
		switch i % 5 {
		case 0:
			f := math.Float64frombits(uint64(i) * 0x9e3779b97f4a7c15) // all sorts of bits
			r.Float = &f
		case 1:
			v := int64(i) << 40
			r.Int = &v
		case 2:
			v := i%2 == 0
			r.Bool = &v
		case 3:
			v := fmt.Sprint("ö", i)
			r.Text = &v
		default:
			r.Quality, r.Reason = "bad", "timeout"
		}
	}
	return out
}

// What is written is read back to the bit, over several row groups.
func TestAPartHoldsWhatWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site=s/day=2026-11-21/hour-00-0.parquet")
	p, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	all := rows(rowGroup + 5000)
	for i := 0; i < len(all); i += 1000 {
		if err := p.Write(all[i : i+1000]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it stands at its path before it is whole")
	}
	n, size, err := p.Commit()
	if err != nil || n != int64(len(all)) || size == 0 {
		t.Fatalf("%d rows, %d bytes, %v", n, size, err)
	}
	want, got, at := newDigest(), newDigest(), 0
	got.seed(want)
	if _, err := Read(path, func(r []Row) error {
		for i := range r {
			want.add(&all[at])
			got.add(&r[i])
			at++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if at != len(all) || want.value() != got.value() {
		t.Errorf("%d rows come back, or others than the %d that were written", at, len(all))
	}
}

// A part that does not hold what was written never stands at its path.
func TestADamagedPartIsNotCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.parquet")
	p, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(rows(100)); err != nil {
		t.Fatal(err)
	}
	p.sum.add(&rows(1)[0]) // as if a row had been lost on the way
	if _, _, err := p.Commit(); !errors.Is(err, ErrReadBack) {
		t.Errorf("committed: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCleanRemovesWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	whole, half := filepath.Join(dir, "site=s", "a.parquet"), filepath.Join(dir, "site=s", "b.parquet"+tmpSuffix)
	if err := os.MkdirAll(filepath.Dir(whole), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{whole, half} {
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clean(dir); err != nil {
		t.Fatal(err)
	}
	_, err1 := os.Stat(whole)
	_, err2 := os.Stat(half)
	if err1 != nil || !errors.Is(err2, os.ErrNotExist) {
		t.Errorf("whole: %v, half: %v", err1, err2)
	}
	if err := Clean(filepath.Join(dir, "nowhere")); err != nil {
		t.Errorf("a lake that is not there yet: %v", err)
	}
	if _, err := Read(whole, nil); err == nil {
		t.Error("one byte is taken for a Parquet file")
	}
}
