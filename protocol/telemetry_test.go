package protocol

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

var anyFloat = rapid.OneOf(
	rapid.Map(rapid.Uint64(), math.Float64frombits), // every bit pattern, NaN payloads too
	rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 21.4, -273.15}),
	rapid.Map(rapid.Int32(), func(i int32) float64 { return float64(i) / 10 }),
	rapid.Map(rapid.Uint32(), func(i uint32) float64 { return float64(math.Float32frombits(i)) }),
	rapid.Map(rapid.Uint16(), func(i uint16) float64 { return Scale{175, 65535, -45, false}.value(int64(i)) }),
)

var anyScale = rapid.SampledFrom([]Scale{{}, {Num: 1, Den: 10}, {Num: 175, Den: 65535, Offset: -45}, {Float32: true}, {Num: 0.25, Den: 1, Offset: 3}})

func drawPoint(t *rapid.T, i int) Point {
	p := Point{Name: fmt.Sprintf("d%d.p", i), Kind: Kind(rapid.IntRange(0, 3).Draw(t, "kind"))}
	if p.Kind == Float {
		p.Scale = anyScale.Draw(t, "scale")
	}
	if p.Kind != Text && p.Kind != Bool {
		p.Base = rapid.SampledFrom([]int64{0, 0, 713, math.MinInt64, math.MaxInt64}).Draw(t, "base")
	}
	return p
}

func drawReading(t *rapid.T, k Kind) Reading {
	r := Reading{Quality: Quality(rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2, 3}).Draw(t, "quality"))}
	if r.Quality == Uncertain || r.Quality == Bad {
		r.Reason = rapid.SampledFrom([]string{"timeout", "crc", ""}).Draw(t, "reason")
	}
	if r.Quality >= Bad {
		return r
	}
	switch k {
	case Float:
		r.Value = FloatValue(anyFloat.Draw(t, "float"))
	case Int:
		r.Value = IntValue(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-3, 3)).Draw(t, "int"))
	case Bool:
		r.Value = BoolValue(rapid.Bool().Draw(t, "bool"))
	default:
		r.Value = TextValue(rapid.SampledFrom([]string{"", "on", "Öl ☃"}).Draw(t, "text"))
	}
	return r
}

type scan struct {
	times    []int64
	readings []Reading
}

func drawScans(t *rapid.T, s *Schema, most int) []scan {
	scans := make([]scan, rapid.IntRange(1, most).Draw(t, "scans"))
	for i := range scans {
		for range s.Groups {
			scans[i].times = append(scans[i].times, rapid.OneOf(rapid.Int64Range(1767225600000, 1767225700000), rapid.Int64()).Draw(t, "time"))
		}
		for _, p := range s.Points {
			scans[i].readings = append(scans[i].readings, drawReading(t, p.Kind))
		}
	}
	return scans
}

func drawSchema(t *rapid.T) *Schema {
	var points []Point
	var groups []int
	for range rapid.IntRange(1, 3).Draw(t, "groups") {
		n := rapid.IntRange(1, 3).Draw(t, "points")
		groups = append(groups, n)
		for range n {
			points = append(points, drawPoint(t, len(points)))
		}
	}
	s, err := NewSchema(points, groups)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeSchema(s.Encoded())
	if err != nil || back.ID() != s.ID() || fmt.Sprint(back.Points, back.Groups) != fmt.Sprint(s.Points, s.Groups) {
		t.Fatalf("the schema comes back as %+v, %v", back, err)
	}
	return back
}

func buildMessage(t *rapid.T, b *Builder, seq uint64, scans []scan) *Message {
	b.Reset()
	for _, sc := range scans {
		if err := b.Add(sc.times, sc.readings); err != nil {
			t.Fatal(err)
		}
	}
	m := &Message{Type: TypeTelemetry, Epoch: 7, Seq: seq, Time: 1767225600000 + int64(seq), Boot: 9, Mono: 1000 * seq, Clock: ClockSynced}
	var err error
	if m.Body, err = b.Body(m.Time); err != nil {
		t.Fatal(err)
	}
	return m
}

func compare(t *rapid.T, tel *Telemetry, scans []scan) {
	if tel.Scans != len(scans) {
		t.Fatalf("%d scans, not %d", tel.Scans, len(scans))
	}
	for i, sc := range scans {
		for p, want := range sc.readings {
			if got := tel.Columns[p].Reading(i); got != want {
				t.Fatalf("scan %d point %d (%+v): %+v, not %+v", i, p, tel.Schema.Points[p], got, want)
			}
			if got, want := tel.Time(i, p), sc.times[tel.Schema.groupOf[p]]; got != want {
				t.Fatalf("scan %d point %d: time %d, not %d", i, p, got, want)
			}
		}
	}
}

// Whatever goes into telemetry comes out of it, through a bundle, joined with
// others and trimmed again.
func TestTelemetryIsTheIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchema(t)
		lookup := func(id SchemaID) *Schema {
			if id == s.ID() {
				return s
			}
			return nil
		}
		b := NewBuilder(s)
		var msgs []*Message
		all := map[uint64][]scan{}
		seq := uint64(0)
		for range rapid.IntRange(1, 4).Draw(t, "messages") {
			seq += rapid.Uint64Range(1, 3).Draw(t, "distance")
			all[seq] = drawScans(t, s, 4)
			msgs = append(msgs, buildMessage(t, b, seq, all[seq]))
		}
		checkMessages(t, roundTrip(t, msgs), lookup, all)
		joined := roundTrip(t, Join(msgs, lookup))
		if len(joined) != 1 {
			t.Fatalf("%d messages after joining %d", len(joined), len(msgs))
		}
		checkMessages(t, joined, lookup, all)

		var have Set
		for q := range all {
			if rapid.Bool().Draw(t, "have") {
				have.Add(q, q)
			}
		}
		trimmed, err := joined[0].Without(have, lookup)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range have.Ranges() {
			for q := r.First; q <= r.Last; q++ {
				delete(all, q)
			}
		}
		if (len(trimmed) == 0) != (len(all) == 0) {
			t.Fatalf("trimmed to %v with %d left", trimmed, len(all))
		}
		if len(trimmed) > 0 {
			checkMessages(t, roundTrip(t, trimmed), lookup, all)
		}
	})
}

func roundTrip(t *rapid.T, msgs []*Message) []*Message {
	payload, err := EncodeBundle(msgs)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeBundle(payload)
	if err != nil || len(back) != len(msgs) {
		t.Fatalf("%d messages come back as %d, %v", len(msgs), len(back), err)
	}
	return back
}

func checkMessages(t *rapid.T, msgs []*Message, lookup LookupSchema, all map[uint64][]scan) {
	var seqs Set
	for _, m := range msgs {
		tel, err := m.Telemetry(lookup)
		if err != nil {
			t.Fatal(err)
		}
		var want []scan
		for _, p := range m.parts(tel.Scans) {
			if p.Time != 1767225600000+int64(p.Seq) || p.Mono != 1000*p.Seq || len(all[p.Seq]) != p.Scans {
				t.Fatalf("part %+v", p)
			}
			want = append(want, all[p.Seq]...)
		}
		compare(t, tel, want)
		seqs.AddSet(m.Seqs())
	}
	if int(seqs.Count()) != len(all) {
		t.Fatalf("seqs %v for %d messages", seqs, len(all))
	}
}

func TestUnknownSchemaIsSaid(t *testing.T) {
	s, err := NewSchema([]Point{{Name: "a.b"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBuilder(s)
	if err := b.Add([]int64{1}, []Reading{{Value: FloatValue(1.5)}}); err != nil {
		t.Fatal(err)
	}
	body, err := b.Body(0)
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{Type: TypeTelemetry, Epoch: 1, Seq: 1, Body: body}
	_, err = m.Telemetry(func(SchemaID) *Schema { return nil })
	if !errors.Is(err, ErrUnknownSchema) || ReasonOf(err) != ReasonUnknownSchema {
		t.Fatalf("got %v", err)
	}
	if id, err := m.SchemaOf(); err != nil || id != s.ID() {
		t.Fatalf("SchemaOf: %v, %v", id, err)
	}
}

// A message of one scan is decoded by a short cut; what looks like that, and is
// not, must not slip through it.
func TestSingleScans(t *testing.T) {
	s, err := NewSchema([]Point{{Name: "a.b", Kind: Int, Base: 5}, {Name: "a.c", Kind: Bool}, {Name: "a.d", Scale: Scale{Num: 1, Den: 10}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		columns []any
		want    string
	}{
		{[]any{1, 1, 7}, "good 6, good true, good 0.7"},
		{[]any{int64(untouched), 1, 7}, "good -9223372035300676829, good true, good 0.7"},
		{[]any{nil, 1, 7}, "not_read, good true, good 0.7"},
		{[]any{1, 1, nil}, "good 6, good true, not_read"},
		{[]any{[]int{1}, 1, 7}, "good 6, good true, good 0.7"},
		{[]any{1, 1, columnMap{Runs: []int64{1, 7}}}, "good 6, good true, good 0.7"},
		{[]any{1, 2, 7}, "mismatch"},
		{[]any{1, true, 7}, "malformed"},
		{[]any{1, cbor.SimpleValue(23), 7}, "malformed"}, // undefined
		{[]any{1, 1.5, 7}, "malformed"},
		{[]any{1, 1}, "malformed"},
		{[]any{1, 1, 7, 8}, "mismatch"},
	} {
		w := wireTelemetry{Schema: s.id[:], Scans: 1, Columns: must(Marshal(0))}
		for _, v := range c.columns {
			w.Columns = append(w.Columns, must(Marshal(v))...)
		}
		m := &Message{Type: TypeTelemetry, Body: must(Marshal(w))}
		tel, err := m.Telemetry(func(SchemaID) *Schema { return s })
		got := ReasonOf(err)
		if err == nil {
			var parts []string
			for p := range tel.Columns {
				parts = append(parts, projectReading(tel.Columns[p].Reading(0)))
			}
			got = strings.Join(parts, ", ")
		}
		if got != c.want {
			t.Errorf("%v: %s, not %s", c.columns, got, c.want)
		}
	}
}
