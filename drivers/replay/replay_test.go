package replay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidemark/drivers"
	"tidemark/test/dataset"
)

// record writes n readings of the data set as a recording.
func record(tb testing.TB, n int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "recording.csv")
	var b bytes.Buffer
	if err := dataset.WriteCSV(&b, dataset.DefaultSeed, n); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// plant lists the data set's points with their types.
func plant(file, speed string) drivers.BusSpec {
	b := drivers.BusSpec{Name: "plant", Config: &Bus{File: file, Speed: speed}}
	for _, t := range dataset.Tags {
		if n := len(b.Devices); n == 0 || b.Devices[n-1].Name != t.Device {
			b.Devices = append(b.Devices, drivers.DeviceSpec{Name: t.Device, Interval: time.Second})
		}
		d := &b.Devices[len(b.Devices)-1]
		h := t.Hint()
		p := &Point{Type: h.Type}
		if h.Den != 0 {
			p.Num, p.Den, p.Offset = &h.Num, &h.Den, &h.Offset
		}
		d.Points = append(d.Points, drivers.PointSpec{Name: t.Point, Unit: h.Unit, Config: p})
	}
	return b
}

func open(tb testing.TB, b drivers.BusSpec) *Sensor {
	tb.Helper()
	s, err := Open(b)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// The whole data set comes back reading by reading.
func TestReplaysEveryReadingOfTheDataSet(t *testing.T) {
	const n = 200_050
	s := open(t, plant(record(t, n), "max"))
	g := dataset.NewGen(dataset.DefaultSeed)
	spec := s.Scans()[0]
	var sc drivers.Scan
	left := n
	for {
		sc.Reset(&spec)
		err := s.Read(t.Context(), 0, &sc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range g.Sweep() {
			got := sc.Readings[i]
			if left == 0 {
				if got.Quality != drivers.NotRead {
					t.Fatalf("point %d beyond the end: %+v", i, got)
				}
				continue
			}
			left--
			f := got.Value.Float()
			if want.IsInt {
				f = float64(got.Value.Int())
			}
			if got.Quality != drivers.Good || f != want.Float() || sc.Times[i].UnixMilli() != want.TsMs {
				t.Fatalf("point %d: got %+v at %v, want %+v", i, got, sc.Times[i], want)
			}
		}
	}
	if left != 0 || s.Stats().Rows != n || s.Stats().Bad+s.Stats().Unlisted != 0 {
		t.Fatalf("%d readings missing; %+v", left, s.Stats())
	}
}

func BenchmarkRead(b *testing.B) {
	const n = 1_000_000
	path := record(b, n)
	var sc drivers.Scan
	b.ReportAllocs()
	readings := 0
	for b.Loop() {
		s := open(b, plant(path, "max"))
		spec := s.Scans()[0]
		for {
			sc.Reset(&spec)
			if err := s.Read(context.Background(), 0, &sc); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			readings += len(sc.Readings)
		}
	}
	b.ReportMetric(float64(readings)/b.Elapsed().Seconds(), "readings/s")
}
