package replay

import (
	"bytes"
	"encoding/csv"
	"errors"
	"math"
	"strconv"
	"testing"
	"time"
)

// FuzzRow holds the row parser against encoding/csv, time and strconv.
func FuzzRow(f *testing.F) {
	for _, s := range []string{
		"2026-01-01T00:00:00.003Z,d.a,71.3", "2026-01-01T00:00:00.003Z,d.b,-0", `2026-01-01T00:00:00Z,"d.a",1e-7`,
		"2026-01-01T00:00:60.000Z,d.a,1", "2026-01-01T00:00:00.003Z,d.a,9007199254740993", "2026-01-01T00:00:00.003Z,d.a,\"1\"",
		"2026-01-01T00:00:00.003Z,d.a,1,", "2026-01-01T00:00:00.0x3Z,d.b,16777217.5", "2026-01-01T00:00:00.003Z,d.a,0.30000001192092896",
		"2026-01-01T00:00:00.003+09:00,d.a,+5", "2026-01-01T00:00:00.003Z,d.a,.5", "2026-01-01T00:00:00.003Z,d.a,-", `",,`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, line []byte, second bool) {
		if bytes.ContainsAny(line, "\n\r") || len(line) == 0 {
			t.Skip() // lines cuts those off, or the reader folds them
		}
		p := rows{names: []string{"d.a", "d.b"}, index: map[string]int{"d.a": 0, "d.b": 1}}
		p.split([]byte("2026-01-01T00:00:00.000Z,d.a,0"), 0) // so that the short way is open
		want := 0
		if second {
			want = 1
		}
		got := p.split(line, want)

		r := csv.NewReader(bytes.NewReader(line))
		r.FieldsPerRecord = 3
		fields, err := r.Read()
		if err != nil {
			if !errors.Is(got.err, errFields) || got.point != -1 {
				t.Fatalf("%q: %+v, but csv says %v", line, got, err)
			}
			return
		}
		point, listed := p.index[fields[1]]
		if !listed {
			point = -1
		}
		if got.point != point || string(got.value) != fields[2] {
			t.Fatalf("%q: %+v, want point %d value %q", line, got, point, fields[2])
		}
		var at time.Time
		if err := at.UnmarshalText([]byte(fields[0])); err != nil || at.Year() < 1678 || at.Year() > 2261 {
			if !errors.Is(got.err, errTime) {
				t.Fatalf("%q: %+v, but its time is no time", line, got)
			}
			return
		}
		if got.err != nil || got.ns != at.UnixNano() {
			t.Fatalf("%q: %+v, want %d", line, got, at.UnixNano())
		}
		sameNumbers(t, fields[2])
	})
}

// FuzzNumber holds the number parsers against strconv.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-0", "-0.0", "1.5", "71.3", "9007199254740992", "9007199254740993", "0.1", "123456789012345678",
		"16777217", "16777217.000000001", "1e22", "0x1p-2", "1_0", "Inf", "nan", "00012", "1.", ".1", ".", "", "-", "+1", "340282356779733661637539395458142568448"} {
		f.Add(s)
	}
	f.Fuzz(sameNumbers)
}

func sameNumbers(t *testing.T, s string) {
	same := func(what string, got, want float64, gotErr, wantErr error) {
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && math.Float64bits(got) != math.Float64bits(want) && !(got != got && want != want) {
			t.Errorf("%s %q: got %v, %v, want %v, %v", what, s, got, gotErr, want, wantErr)
		}
	}
	f, err := parseFloat([]byte(s))
	w, werr := strconv.ParseFloat(s, 64)
	same("float", f, w, err, werr)
	f, err = parseFloat32([]byte(s))
	w, werr = strconv.ParseFloat(s, 32)
	same("float32", f, w, err, werr)
	i, err := parseInt([]byte(s))
	wi, werr := strconv.ParseInt(s, 10, 64)
	if (err == nil) != (werr == nil) || err == nil && i != wi {
		t.Errorf("int %q: got %d, %v, want %d, %v", s, i, err, wi, werr)
	}
}

// Numbers near the middle between two binary32 are where rounding twice fails.
func TestFloat32BetweenTwo(t *testing.T) {
	for i := range 200_000 {
		mid := float64(math.Float32frombits(0x3f800000+uint32(i)*83)) + math.Ldexp(1, -24)
		for _, digits := range []int{7, 8, 9, 12, 16} {
			sameNumbers(t, strconv.FormatFloat(mid, 'f', digits, 64))
		}
	}
}
