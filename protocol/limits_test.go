package protocol

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// hardReading draws what compresses worst.
func hardReading(r *rand.Rand, p *Point, badness int) Reading {
	switch q := r.IntN(100); {
	case q < badness:
		return Reading{Quality: Bad, Reason: fmt.Sprintf("reason %d", r.IntN(50))}
	case q < 2*badness:
		return Reading{Quality: NotRead}
	}
	out := Reading{Value: FloatValue(math.Float64frombits(r.Uint64()))}
	switch p.Kind {
	case Int:
		out.Value = IntValue(int64(r.Uint64()))
	case Bool:
		out.Value = BoolValue(r.IntN(2) == 0)
	case Text:
		out.Value = TextValue(strings.Repeat("x", r.IntN(MaxText+1)))
	case Float:
		if r.IntN(40) > 0 && !p.Scale.none() && !p.Scale.Float32 {
			out.Value = FloatValue(p.Scale.value(int64(r.IntN(100)))) // may have to become floats all at once
		}
	}
	if r.IntN(100) < badness {
		out.Quality, out.Reason = Uncertain, "doubt"
	}
	return out
}

// drawHard draws a schema and how much of it fails.
func drawHard(t *rapid.T) (*Schema, int, *rand.Rand) {
	kinds := rapid.SampledFrom([][]Kind{{Float}, {Int}, {Bool}, {Float, Int, Bool}, {Float, Int, Bool, Text}, {Text}}).Draw(t, "kinds")
	n := rapid.SampledFrom([]int{1, 2, 40, 700, 2000}).Draw(t, "points")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	var points []Point
	for i := range n {
		p := Point{Name: fmt.Sprintf("d%d.p", i), Kind: kinds[r.IntN(len(kinds))]}
		if p.Kind == Float {
			p.Scale = []Scale{{}, {Num: 1, Den: 10}, {Float32: true}}[r.IntN(3)]
		}
		points = append(points, p)
	}
	var groups []int
	if rapid.Bool().Draw(t, "a group each") {
		for range n {
			groups = append(groups, 1)
		}
	}
	s, err := NewSchema(points, groups)
	if err != nil {
		t.Fatal(err)
	}
	return s, rapid.SampledFrom([]int{0, 5, 50}).Draw(t, "badness"), r
}

// However hard the data, a builder never makes a message over the limit, never
// loses a scan, and takes any scan of numbers that a message can hold.
func TestBuilderKeepsTheLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, badness, r := drawHard(t)
		b := NewBuilder(s)
		var msgs []*Message
		taken, flushed := 0, 0
		flush := func() {
			flushed += b.Scans()
			m := &Message{Type: TypeTelemetry, Epoch: math.MaxUint64, Seq: math.MaxUint64 - 1000 + uint64(len(msgs)), Time: math.MinInt64, Boot: math.MaxUint64, Mono: math.MaxUint64, Clock: ClockSynced}
			var err error
			if m.Body, err = b.Body(m.Time); err != nil {
				t.Fatal(err)
			}
			if len(m.Body) > b.size {
				t.Fatalf("%d scans of %d points take %d bytes, bounded as %d", b.Scans(), len(s.Points), len(m.Body), b.size)
			}
			checkFits(t, m, func(SchemaID) *Schema { return s }, b.Scans())
			msgs = append(msgs, m)
			b.Reset()
		}
		times := make([]int64, len(s.Groups))
		readings := make([]Reading, len(s.Points))
		for range rapid.IntRange(1, 12).Draw(t, "scans") {
			hardScan(r, s, badness, times, readings)
			err := b.Add(times, readings)
			if errors.Is(err, ErrFull) {
				flush()
				err = b.Add(times, readings)
			}
			if err != nil {
				if b.Scans() != 0 || !strings.Contains(err.Error(), "does not fit") || len(s.Points) < 40 {
					t.Fatal(err)
				}
				continue // a scan of texts that no message can hold
			}
			taken++
		}
		if b.Scans() > 0 {
			flush()
		}
		if taken != flushed {
			t.Fatalf("%d scans taken, %d written", taken, flushed)
		}
		for _, m := range Join(msgs, func(SchemaID) *Schema { return s }) {
			checkFits(t, m, func(SchemaID) *Schema { return s }, -1)
		}
	})
}

// hardScan fills in a scan, half of the time one that changes how columns travel.
func hardScan(r *rand.Rand, s *Schema, badness int, times []int64, readings []Reading) {
	hard := r.IntN(2) == 0
	for i := range times {
		times[i] = int64(r.Uint64() >> (r.IntN(2) * 40))
	}
	for i := range readings {
		readings[i] = hardReading(r, &s.Points[i], badness)
		if !hard && s.Points[i].Kind != Text {
			readings[i] = Reading{Value: easy(s.Points[i].Kind)}
		}
	}
}

func easy(k Kind) Value {
	switch k {
	case Int:
		return IntValue(1)
	case Bool:
		return BoolValue(true)
	}
	return FloatValue(1)
}

// checkFits encodes and decodes a message, alone in a bundle.
func checkFits(t *rapid.T, m *Message, lookup LookupSchema, scans int) {
	payload, err := EncodeBundle([]*Message{m})
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeBundle(payload)
	if err != nil {
		t.Fatal(err)
	}
	tel, err := back[0].Telemetry(lookup)
	if err != nil || scans >= 0 && tel.Scans != scans {
		t.Fatalf("%v: %v", tel, err)
	}
}

// slopes makes messages of a counter that grows evenly, and a value that does not.
func slopes(t *rapid.T, s *Schema, slope int64, scans int) (msgs []*Message) {
	b := NewBuilder(s)
	n := int64(0)
	for i := range rapid.IntRange(2, 40).Draw(t, "messages") {
		b.Reset()
		for range scans {
			n++
			if err := b.Add([]int64{n * 1000}, []Reading{{Value: IntValue(n * slope)}, {Value: FloatValue(float64(n%7) / 10)}}); err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				n--
				break
			}
		}
		seq := uint64(1 + 2*i)
		m := &Message{Type: TypeTelemetry, Epoch: 1, Seq: seq, Time: n*1000 + 7, Boot: 1, Mono: seq * 3}
		var err error
		if m.Body, err = b.Body(m.Time); err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, m)
	}
	return msgs
}

// Joining many messages, and cutting them up again, keeps limits, readings and
// each part's own time.
func TestJoinKeepsTheLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := NewSchema([]Point{{Name: "a.n", Kind: Int}, {Name: "a.x", Scale: Scale{Num: 1, Den: 10}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		lookup := func(SchemaID) *Schema { return s }
		slope := rapid.SampledFrom([]int64{0, 1, 1 << 40}).Draw(t, "slope") // runs collapse, and do not when they are cut
		scans := rapid.SampledFrom([]int{1, 10, 3000}).Draw(t, "scans")
		msgs := slopes(t, s, slope, scans)
		joined := Join(msgs, lookup)
		if len(joined) > len(msgs) {
			t.Fatalf("%d messages joined to %d", len(msgs), len(joined))
		}
		var have Set
		for _, m := range msgs {
			if rapid.Bool().Draw(t, "have") {
				have.Add(m.Seq, m.Seq)
			}
		}
		var left []*Message
		for _, m := range joined {
			checkFits(t, m, lookup, -1)
			rest, err := m.Without(have, lookup)
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, rest...)
		}
		checkLeft(t, msgs, left, have, lookup)
	})
}

// checkLeft compares what is left of joined messages with the originals.
func checkLeft(t *rapid.T, msgs, left []*Message, have Set, lookup LookupSchema) {
	originals := map[uint64]*Message{}
	for _, m := range msgs {
		if !have.Contains(m.Seq) {
			originals[m.Seq] = m
		}
	}
	for _, m := range left {
		checkFits(t, m, lookup, -1)
		tel, err := m.Telemetry(lookup)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for _, p := range m.parts(tel.Scans) {
			o := originals[p.Seq]
			if o == nil || o.Time != p.Time || o.Mono != p.Mono || o.Boot != m.Boot || o.Clock != m.Clock {
				t.Fatalf("part %+v of %+v", p, o)
			}
			delete(originals, p.Seq)
			want, err := o.Telemetry(lookup)
			if err != nil || want.Scans != p.Scans {
				t.Fatal(err)
			}
			for i := range p.Scans {
				if tel.Times[at] != want.Times[i] || tel.Columns[0].Ints[at] != want.Columns[0].Ints[i] || tel.Columns[1].Value(at) != want.Columns[1].Value(i) {
					t.Fatalf("seq %d scan %d differs", p.Seq, i)
				}
				at++
			}
		}
	}
	if len(originals) > 0 {
		t.Fatalf("%d messages are gone", len(originals))
	}
}

// What a device sends that no column can carry becomes a bad reading.
func TestBuilderTakesAnyText(t *testing.T) {
	s, err := NewSchema([]Point{{Name: "a.t", Kind: Text}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBuilder(s)
	for _, text := range []string{"ok", "\xff\xfe", strings.Repeat("x", MaxText+1), strings.Repeat("x", MaxText)} {
		if err := b.Add([]int64{0}, []Reading{{Value: TextValue(text)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add([]int64{0}, []Reading{{Quality: Bad, Reason: "\xff" + strings.Repeat("ä", 60)}}); err != nil {
		t.Fatal(err)
	}
	body, err := b.Body(0)
	if err != nil {
		t.Fatal(err)
	}
	tel, err := (&Message{Type: TypeTelemetry, Body: body}).Telemetry(func(SchemaID) *Schema { return s })
	if err != nil {
		t.Fatal(err)
	}
	c := &tel.Columns[0]
	for i, want := range []Reading{{Value: TextValue("ok")}, {Quality: Bad, Reason: ReasonBadText}, {Quality: Bad, Reason: ReasonLongText}, {Value: TextValue(strings.Repeat("x", MaxText))}, {Quality: Bad, Reason: strings.Repeat("ä", 31)}} {
		if got := c.Reading(i); got != want {
			t.Errorf("scan %d: %.80v, not %.80v", i, got, want)
		}
	}
}

func TestReadingsOfABundleAreBounded(t *testing.T) {
	s, err := NewSchema([]Point{{Name: "a.n", Kind: Int}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(SchemaID) *Schema { return s }
	w := wireTelemetry{Schema: s.id[:], Scans: MaxReadings, Columns: append(must(Marshal(0)), must(Marshal(1))...)}
	var msgs []*Message
	for i := range MaxBundleReadings / MaxReadings {
		msgs = append(msgs, &Message{Type: TypeTelemetry, Epoch: 1, Seq: uint64(i + 1), Body: must(Marshal(w))})
	}
	if err := CheckReadings(msgs, lookup); err != nil {
		t.Fatal(err)
	}
	if err := CheckReadings(append(msgs, msgs[0]), lookup); ReasonOf(err) != ReasonTooLarge || err == nil {
		t.Fatalf("got %v", err)
	}
}

func TestAckOfManyGapsIsCut(t *testing.T) {
	var s Set
	for q := uint64(1); q <= 2*(MaxRanges+10); q += 2 {
		s.Add(q, q)
	}
	var back Ack
	if err := Unmarshal((&Ack{Epoch: 1, Committed: s}).Encode(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Committed.ranges) != MaxRanges || !back.Committed.Minus(s).Empty() || back.Committed.Max() != 2*MaxRanges-1 {
		t.Fatalf("%d ranges up to %d", len(back.Committed.ranges), back.Committed.Max())
	}
	if len(s.ranges) != MaxRanges+10 {
		t.Fatal("the set itself was cut")
	}
}

// A text that quotes half a character of what a gateway sent must not make the
// ack one that the gateway cannot read: it would send the same for ever.
func TestAckQuotesWhatIsNoText(t *testing.T) {
	a := &Ack{Epoch: 1, Rejected: []Rejection{{First: 1, Last: 2, Reason: ReasonMismatch, Text: "it names \xe6\xb8"}},
		Refused: []Refusal{{Bundle: BundleID([]byte("no bundle")), Reason: ReasonMalformed, Text: "byte \xff"}}}
	var back Ack
	if err := Unmarshal(a.Encode(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Rejected[0].Text != "it names " || back.Refused[0].Text != "byte " || len(back.Refused[0].Bundle) != 16 {
		t.Fatalf("got %+v", back)
	}
}
