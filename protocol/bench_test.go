package protocol

import (
	"fmt"
	"testing"

	"tidemark/test/dataset"
)

// plant is the reference data set as a gateway that knows its registers sends
// it: scales for what has them, bases near the usual values, one group a point.
type plant struct {
	schema *Schema
	gen    *dataset.Gen
	times  []int64
	reads  []Reading
}

func newPlant(t testing.TB) *plant {
	t.Helper()
	pl := &plant{gen: dataset.NewGen(dataset.DefaultSeed)}
	first := append([]dataset.Reading(nil), dataset.NewGen(dataset.DefaultSeed).Sweep()...)
	var points []Point
	var groups []int
	for i := range dataset.Tags {
		tag := &dataset.Tags[i]
		p := Point{Name: tag.Device + "." + tag.Point, Kind: Float}
		r := &first[i]
		if tag.IsInt {
			p.Kind, p.Base = Int, r.I
		} else {
			p.Scale = scaleOf(i)
			if raw, ok := p.Scale.raw(r.F); ok {
				p.Base = raw
			} else {
				t.Fatalf("tag %d: %v has no raw integer under %+v", i, r.F, p.Scale)
			}
		}
		points, groups = append(points, p), append(groups, 1)
	}
	var err error
	if pl.schema, err = NewSchema(points, groups); err != nil {
		t.Fatal(err)
	}
	for range 600 { // bases are ten minutes old
		pl.gen.Sweep()
	}
	return pl
}

// scaleOf finds the register transform of a tag by looking at its values.
func scaleOf(tag int) Scale {
	candidates := []Scale{{Num: 1, Den: 1}, {Num: 1, Den: 10}, {Num: 1, Den: 100},
		{Num: 175, Den: 65535, Offset: -45}, {Num: 100, Den: 65535}, {Float32: true}}
	g := dataset.NewGen(dataset.DefaultSeed)
	fits := make([]bool, len(candidates))
	for i := range fits {
		fits[i] = true
	}
	for range 20 {
		f := g.Sweep()[tag].F
		for i, c := range candidates {
			if _, ok := c.raw(f); !ok {
				fits[i] = false
			}
		}
	}
	for i, ok := range fits {
		if ok {
			return candidates[i]
		}
	}
	return Scale{}
}

// scan returns the next second; the slices are reused.
func (p *plant) scan() ([]int64, []Reading) {
	p.times, p.reads = p.times[:0], p.reads[:0]
	for _, r := range p.gen.Sweep() {
		v := FloatValue(r.F)
		if r.IsInt {
			v = IntValue(r.I)
		}
		p.times, p.reads = append(p.times, r.TsMs), append(p.reads, Reading{Value: v})
	}
	return p.times, p.reads
}

// messages returns n messages of the given number of scans.
func (p *plant) messages(t testing.TB, n, scans int) []*Message {
	t.Helper()
	b := NewBuilder(p.schema)
	var msgs []*Message
	for i := range n {
		b.Reset()
		var at int64
		for range scans {
			times, reads := p.scan()
			at = times[len(times)-1] + 3
			if err := b.Add(times, reads); err != nil {
				t.Fatal(err)
			}
		}
		m := &Message{Type: TypeTelemetry, Epoch: 0x5eed0fa11ca7f00d, Seq: uint64(1000 + i), Time: at, Boot: 0xb007b007b007b007, Mono: uint64(at) % 1e8, Clock: ClockSynced}
		var err error
		if m.Body, err = b.Body(m.Time); err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, m)
	}
	return msgs
}

func (p *plant) lookup(id SchemaID) *Schema {
	if id == p.schema.ID() {
		return p.schema
	}
	return nil
}

var shapes = []int{1, 10, 60, 300}

func perReading(b *testing.B, readings int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(readings), "ns/reading")
}

// BenchmarkBuild is Builder.Add and Body, the agent's work for each message.
func BenchmarkBuild(b *testing.B) {
	for _, scans := range shapes {
		b.Run(fmt.Sprintf("scans=%d", scans), func(b *testing.B) {
			p := newPlant(b)
			times, reads := make([][]int64, scans), make([][]Reading, scans)
			for i := range scans {
				t, r := p.scan()
				times[i], reads[i] = append([]int64(nil), t...), append([]Reading(nil), r...)
			}
			bld := NewBuilder(p.schema)
			b.ReportAllocs()
			b.ResetTimer()
			n := 0
			for b.Loop() {
				bld.Reset()
				for i := range scans {
					_ = bld.Full()
					if err := bld.Add(times[i], reads[i]); err != nil {
						b.Fatal(err)
					}
				}
				body, err := bld.Body(times[0][0])
				if err != nil {
					b.Fatal(err)
				}
				n = len(body)
			}
			readings := scans * len(p.schema.Points)
			perReading(b, readings)
			b.ReportMetric(float64(n)/float64(readings), "B/reading")
		})
	}
}

// BenchmarkTelemetry is the decoding of a body.
func BenchmarkTelemetry(b *testing.B) {
	for _, scans := range shapes {
		b.Run(fmt.Sprintf("scans=%d", scans), func(b *testing.B) {
			p := newPlant(b)
			m := p.messages(b, 1, scans)[0]
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if _, err := m.Telemetry(p.lookup); err != nil {
					b.Fatal(err)
				}
			}
			perReading(b, scans*len(p.schema.Points))
		})
	}
}

// BenchmarkJoin joins 300 one-second messages, as a backlog's.
func BenchmarkJoin(b *testing.B) {
	p := newPlant(b)
	msgs := p.messages(b, 300, 1)
	for b.Loop() {
		if len(Join(msgs, p.lookup)) > 2 {
			b.Fatal("not joined")
		}
	}
	perReading(b, 300*len(p.schema.Points))
}

// BenchmarkBundle encodes and decodes bundles.
func BenchmarkBundle(b *testing.B) {
	for _, c := range []struct {
		name   string
		n      int
		scans  int
		joined bool
	}{{"1x1", 1, 1, false}, {"1x10", 1, 10, false}, {"1x60", 1, 60, false}, {"300x1", 300, 1, false}, {"300x1-joined", 300, 1, true}, {"600x1-joined", 600, 1, true}} {
		p := newPlant(b)
		msgs := p.messages(b, c.n, c.scans)
		if c.joined {
			msgs = Join(msgs, p.lookup)
		}
		readings := c.n * c.scans * len(p.schema.Points)
		payload, err := EncodeBundle(msgs)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("encode/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := EncodeBundle(msgs); err != nil {
					b.Fatal(err)
				}
			}
			perReading(b, readings)
			b.ReportMetric(float64(len(payload))/float64(readings), "B/reading")
		})
		b.Run("decode/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeBundle(payload); err != nil {
					b.Fatal(err)
				}
			}
			perReading(b, readings)
		})
	}
}
