package chunk

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tidemark/protocol"
)

func drawBlock(t *rapid.T) Block {
	n := rapid.IntRange(1, 60).Draw(t, "n")
	b := Block{Kind: protocol.Kind(rapid.IntRange(0, 3).Draw(t, "kind"))}
	form := rapid.IntRange(0, 2).Draw(t, "form")
	if b.Kind == protocol.Float && form == 1 {
		b.Scale = rapid.SampledFrom([]protocol.Scale{{Num: 1, Den: 10}, {Num: 1, Den: 1e15}, {Float32: true}, {Num: 175, Den: 65535, Offset: -45}, {Num: 1, Den: 1}}).Draw(t, "scale")
	}
	aux := rapid.Bool().Draw(t, "aux")
	for range n {
		b.Times = append(b.Times, rapid.OneOf(rapid.Int64(), rapid.Int64Range(1e12, 1e12+3000)).Draw(t, "time"))
		if aux {
			b.Aux = append(b.Aux, rapid.Int64().Draw(t, "aux"))
		}
		switch {
		case b.Kind == protocol.Text && form > 0:
			b.Texts = append(b.Texts, rapid.SampledFrom([]string{"", "on", "Öl ☃"}).Draw(t, "text"))
		case b.Kind == protocol.Float && form == 2:
			b.Floats = append(b.Floats, math.Float64frombits(rapid.Uint64().Draw(t, "bits")))
		case form > 0:
			b.Ints = append(b.Ints, rapid.OneOf(rapid.Int64(), rapid.Int64Range(-3, 3)).Draw(t, "int"))
		}
	}
	if form == 0 { // without values
		b.Marks = []protocol.Mark{{Count: n, Quality: protocol.Bad, Reason: "crc"}}
		return b
	}
	for i := rapid.IntRange(0, 5).Draw(t, "good"); i < n; {
		count := rapid.IntRange(1, n-i).Draw(t, "count")
		b.Marks = append(b.Marks, protocol.Mark{First: i, Count: count, Quality: protocol.Bad, Reason: rapid.SampledFrom([]string{"", "timeout"}).Draw(t, "reason")})
		i += count + rapid.IntRange(1, 20).Draw(t, "gap")
	}
	return b
}

func show(b *Block) string {
	var out []string
	for i, t := range b.Times {
		r := b.Reading(i)
		out = append(out, fmt.Sprint(t, b.AuxOf(i), r.Quality, r.Reason, r.Value.Kind(), r.Value.Text(), r.Value.Int()))
	}
	return fmt.Sprint(out)
}

func TestWhatIsEncodedDecodes(t *testing.T) {
	var enc Encoder
	rapid.Check(t, func(t *rapid.T) {
		b := drawBlock(t)
		back, err := Decode(enc.Encode(&b))
		if err != nil {
			t.Fatal(err)
		}
		if show(&back) != show(&b) || back.Bad() != b.Bad() {
			t.Fatalf("%s\ncomes back as\n%s", show(&b), show(&back))
		}
		i := rapid.IntRange(0, b.Len()-1).Draw(t, "cut")
		tail := b.Slice(i, b.Len())
		if got, want := tail.Reading(0), b.Reading(i); got != want {
			t.Fatalf("the slice begins with %+v, not %+v", got, want)
		}
	})
}

// Merging keeps every reading, in order of time.
func TestMergeKeepsEveryReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var blocks []Block
		var want, got []string
		for range rapid.IntRange(1, 4).Draw(t, "blocks") {
			b := drawBlock(t)
			if rapid.Bool().Draw(t, "sorted") {
				slices.Sort(b.Times)
			}
			blocks = append(blocks, b)
			want = append(want, each(&b)...)
		}
		for _, m := range Merge(blocks) {
			if !m.Sorted() || m.Len() > MaxReadings {
				t.Fatalf("a merged block of %d readings, sorted: %v", m.Len(), m.Sorted())
			}
			got = append(got, each(&m)...)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%d readings became %d:\n%s\n%s", len(want), len(got), want, got)
		}
	})
}

func each(b *Block) (out []string) {
	for i := range b.Times {
		one := b.Slice(i, i+1)
		out = append(out, show(&one))
	}
	return out
}

func TestLongBlocksAreMergedIntoFullOnes(t *testing.T) {
	var blocks []Block
	for i := range 3 {
		var b Block
		b.Kind = protocol.Int
		for k := range int64(10_000) {
			b.Times = append(b.Times, int64(i)*10_000+k)
			b.Ints = append(b.Ints, k)
		}
		blocks = append(blocks, b)
	}
	out := Merge(blocks)
	if len(out) != 2 || out[0].Len() != MaxReadings || out[0].Len()+out[1].Len() != 30_000 || out[1].Times[0] != MaxReadings {
		t.Errorf("%d blocks, the first of %d", len(out), out[0].Len())
	}
}

func FuzzDecode(f *testing.F) {
	var enc Encoder
	for i := range 20 {
		b := rapid.Custom(drawBlock).Example(i)
		f.Add(slices.Clone(enc.Encode(&b)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		show(&b)
		again, err := Decode(enc.Encode(&b))
		if err != nil || show(&again) != show(&b) {
			t.Fatalf("it does not survive: %v", err)
		}
	})
}
