package replay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/drivers"
)

// bus lists points of one device d: name:type.
func bus(file, speed string, points ...string) drivers.BusSpec {
	d := drivers.DeviceSpec{Name: "d", Interval: time.Second}
	for _, p := range points {
		name, typ, _ := strings.Cut(p, ":")
		d.Points = append(d.Points, drivers.PointSpec{Name: name, Config: &Point{Type: typ}})
	}
	return drivers.BusSpec{Name: "b", Config: &Bus{File: file, Speed: speed}, Devices: []drivers.DeviceSpec{d}}
}

func write(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "r.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// show renders a sweep: point@ms=value or point@ms!reason.
func show(spec *drivers.ScanSpec, sc *drivers.Scan) string {
	var b strings.Builder
	for i, r := range sc.Readings {
		if r.Quality == drivers.NotRead {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s@%d", spec.Points[i].Name, sc.Times[i].UnixMilli()%100_000)
		switch {
		case r.Quality == drivers.Bad:
			b.WriteString("!" + r.Reason)
		case r.Value.Type() == drivers.Float:
			fmt.Fprintf(&b, "=%v", r.Value.Float())
		case r.Value.Type() == drivers.Int:
			fmt.Fprintf(&b, "=%d", r.Value.Int())
		case r.Value.Type() == drivers.Bool:
			fmt.Fprintf(&b, "=%t", r.Value.Bool())
		default:
			fmt.Fprintf(&b, "=%q", r.Value.Text())
		}
	}
	return b.String()
}

// drain reads sweeps to the end, or to the limit.
func drain(t *testing.T, s *Sensor, limit int) (sweeps []string) {
	t.Helper()
	spec := s.Scans()[0]
	var sc drivers.Scan
	for range limit {
		sc.Reset(&spec)
		err := s.Read(t.Context(), 0, &sc)
		if errors.Is(err, io.EOF) {
			return append(sweeps, "end")
		}
		if err != nil {
			return append(sweeps, "error "+drivers.ReasonOf(err))
		}
		sweeps = append(sweeps, show(&spec, &sc))
	}
	return sweeps
}

const day = "2026-01-01T00:00:" // Unix milliseconds end in 00000

func TestRows(t *testing.T) {
	long := strings.Repeat("x", MaxRow)
	huge := strings.Repeat("x", 3*bufSize)
	for _, c := range []struct {
		name, csv    string
		sweeps       string // joined by " | "
		unlisted, ok uint64
		mistakes     []string
	}{
		{"a point that comes again begins a sweep", day + "01.000Z,d.a,1\n" + day + "01.002Z,d.b,2\n" + day + "01.500Z,d.a,3\n",
			"a@1000=1 b@1002=2 | a@1500=3 | end", 0, 3, nil},
		{"going backwards begins a sweep", day + "01.000Z,d.b,1\n" + day + "01.002Z,d.a,2\n",
			"b@1000=1 | a@1002=2 | end", 0, 2, nil},
		{"a long time begins a sweep", day + "01.000Z,d.a,1\n" + day + "02.001Z,d.b,2\n",
			"a@1000=1 | b@2001=2 | end", 0, 2, nil},
		{"time going back begins a sweep", day + "01.000Z,d.a,1\n" + day + "00.999Z,d.b,2\n",
			"a@1000=1 | b@999=2 | end", 0, 2, nil},
		{"heading, byte order mark, CR LF, empty lines, no last newline", "\ufefftime,point,value\r\n\r\n" + day + "01.000Z,d.a,1\r\n\n" + day + "01.001Z,d.b,2",
			"a@1000=1 b@1001=2 | end", 0, 2, nil},
		{"points that are not listed", day + "01.000Z,d.x,1\n" + day + "01.001Z,d.a,1\n" + day + "01.002Z,e.a,7\n" + day + "01.003Z,d.b,2\n",
			"a@1001=1 b@1003=2 | end", 2, 2, nil},
		{"other forms of time", "2026-01-01T01:00:01+01:00,d.a,1\n" + day + "01.25Z,d.b,2\n" + day + "01.5001Z,d.a,1\n",
			"a@1000=1 b@1250=2 | a@1500=1 | end", 0, 3, nil},
		{"a bad number is no number", day + "01.000Z,d.a,7x\n" + day + "01.001Z,d.b,2\n",
			"a@1000!format b@1001=2 | end", 0, 1, []string{"r.csv:1: d.a: the value"}},
		{"an empty number is no number", day + "01.000Z,d.a,\n", "a@1000!format | end", 0, 0, []string{"r.csv:1: d.a: the value"}},
		{"a number too large", day + "01.000Z,d.a,1e999\n" + day + "01.001Z,d.i,9223372036854775808\n" + day + "01.002Z,d.f,1e40\n",
			"a@1000!range i@1001!range f@1002!range | end", 0, 0, []string{":1: d.a", ":2: d.i", ":3: d.f"}},
		{"not finite is a value", day + "01.000Z,d.a,NaN\n" + day + "01.001Z,d.b,-Inf\n", "a@1000=NaN b@1001=-Inf | end", 0, 2, nil},
		{"a fraction is no int", day + "01.000Z,d.i,1.0\n" + day + "01.001Z,d.a,1.\n", "i@1000!format | a@1001=1 | end", 0, 1, []string{":1: d.i"}},
		{"bool and text", day + "01.000Z,d.o,true\n" + day + "01.001Z,d.t,\"a, \"\"b\"\"\"\n" + day + "01.002Z,d.o,0\n" + day + "01.003Z,d.t,plain\n" + day + "01.004Z,d.o,yes\n" + day + "01.005Z,d.t,\xff\n",
			`o@1000=true t@1001="a, \"b\"" | o@1002=false t@1003="plain" | o@1004!format t@1005!format | end`, 0, 4, []string{":5: d.o", ":6: d.t"}},
		{"a bad time takes the time of its neighbour", day + "01.000Z,d.a,1\n2026-13-01T00:00:00.000Z,d.b,2\n" + day + "02.000Z,d.a,3\n",
			"a@1000=1 b@1000!format | a@2000=3 | end", 0, 2, []string{":2: d.b: the time"}},
		{"a bad time at first takes the next one", "x,d.a,1\n" + day + "01.000Z,d.b,2\n", "a@1000!format b@1000=2 | end", 0, 1, []string{":1: d.a: the time"}},
		{"bad times alone are no readings", "x,d.a,1\nx,d.a,1\n" + day + "01.000Z,d.b,2\n", "a@1000!format b@1000=2 | end", 0, 1, []string{":1: d.a", ":2: d.a"}},
		{"years that nanoseconds can't tell", "1677-01-01T00:00:00.000Z,d.a,1\n" + day + "01.000Z,d.b,2\n", "a@1000!format b@1000=2 | end", 0, 1, []string{":1: d.a"}},
		{"a stray quote costs one row", day + "01.000Z,\"d.a,1\n" + day + "01.001Z,d.b,2\n", "b@1001=2 | end", 0, 1, []string{"r.csv:1: a row is"}},
		{"too few and too many fields", "hello\n" + day + "01.000Z,d.a,1,2\n" + day + "01.001Z,d.b,2\n", "b@1001=2 | end", 0, 1, []string{":1: a row is", ":2: a row is"}},
		{"a row that is too long", day + "01.000Z,d.a," + long + "\n" + day + "01.001Z,d.b,2\n", "b@1001=2 | end", 0, 1, []string{":1: the row is longer"}},
		{"a row longer than the buffer", day + "01.000Z,d.a," + huge + "\n" + day + "01.001Z,d.b,2\n" + huge, "b@1001=2 | end", 0, 1, []string{":1: the row is longer", ":3: the row is longer"}},
		{"nothing that is listed", "time,point,value\n" + day + "01.000Z,e.a,1\n", "error not_found", 1, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, bus(write(t, c.csv), "max", "a", "b", "i:int", "f:float32", "o:bool", "t:text"))
			if got := strings.Join(drain(t, s, 10), " | "); got != c.sweeps {
				t.Errorf("got  %s\nwant %s", got, c.sweeps)
			}
			st := s.Stats()
			if st.Unlisted != c.unlisted || st.Bad != uint64(len(c.mistakes)) || st.Rows != c.ok+st.Bad+st.Unlisted {
				t.Errorf("stats %+v", st)
			}
			for i, want := range c.mistakes {
				var re *RowError
				if i >= len(st.Errors) || !errors.As(st.Errors[i], &re) || !strings.Contains(st.Errors[i].Error(), want) {
					t.Errorf("mistakes %v, want %q", st.Errors, want)
				}
			}
		})
	}
}

func TestMistakesAreBounded(t *testing.T) {
	s := open(t, bus(write(t, strings.Repeat("nonsense\n", 10_000)+day+"01.000Z,d.a,1\n"), "max", "a"))
	if got := drain(t, s, 3); len(got) != 2 || got[0] != "a@1000=1" {
		t.Errorf("got %v", got)
	}
	if st := s.Stats(); st.Bad != 10_000 || len(st.Errors) != MaxErrors {
		t.Errorf("%d bad, %d told", st.Bad, len(st.Errors))
	}
}
