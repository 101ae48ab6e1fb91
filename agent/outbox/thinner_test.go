package outbox

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tidemark/protocol"
)

// raw is a reading as it was before thinning.
type raw struct {
	at int64
	r  protocol.Reading
}

// want computes anew, from all readings of a point in a minute, what is to
// stand for them.
func want(readings []raw) (q protocol.Quality, reason string, last protocol.Value, numbers []protocol.Value) {
	q = protocol.NotRead
	for _, r := range readings {
		q = min(q, r.r.Quality)
	}
	for _, r := range readings {
		if r.r.Quality != q || q == protocol.NotRead {
			continue
		}
		reason, last = r.r.Reason, r.r.Value
		if q < protocol.Bad && last.Kind() <= protocol.Int && !math.IsNaN(last.Float()) {
			numbers = append(numbers, last)
		}
	}
	return q, reason, last, numbers
}

func wantMinMax(numbers []protocol.Value) (low, high protocol.Value) {
	low, high = numbers[0], numbers[0]
	for _, v := range numbers {
		if v.Kind() == protocol.Int && v.Int() < low.Int() || v.Kind() == protocol.Float && v.Float() < low.Float() {
			low = v
		}
		if v.Kind() == protocol.Int && v.Int() > high.Int() || v.Kind() == protocol.Float && v.Float() > high.Float() {
			high = v
		}
	}
	return low, high
}

// meanIs reports whether f is the mean of numbers, exactly computed.
func meanIs(f float64, numbers []protocol.Value) bool {
	sum, most := new(big.Float).SetPrec(2200), 0.0
	for _, v := range numbers {
		if math.IsInf(v.Float(), 0) {
			plain := 0.0
			for _, w := range numbers {
				if math.IsInf(w.Float(), 0) {
					plain += w.Float() // Inf, or NaN of both
				}
			}
			return f == plain || f != f && plain != plain
		}
		sum.Add(sum, new(big.Float).SetFloat64(v.Float()))
		most = max(most, math.Abs(v.Float()))
	}
	mean, _ := sum.Quo(sum, new(big.Float).SetInt64(int64(len(numbers)))).Float64()
	low, high := wantMinMax(numbers)
	if low.Float() == high.Float() {
		return f == low.Float()
	}
	return math.Abs(f/2-mean/2) <= 1e-13*most+5e-324 && f >= low.Float() && f <= high.Float()
}

func drawReading(rt *rapid.T, k protocol.Kind) protocol.Reading {
	q := rapid.SampledFrom([]protocol.Quality{0, 0, 0, 0, 1, 2, 3}).Draw(rt, "q")
	r := protocol.Reading{Quality: q}
	if q == protocol.Uncertain || q == protocol.Bad {
		r.Reason = rapid.SampledFrom([]string{"", "timeout", "crc"}).Draw(rt, "reason")
	}
	if q >= protocol.Bad {
		return r
	}
	switch k {
	case protocol.Float:
		r.Value = protocol.FloatValue(rapid.OneOf(rapid.Float64Range(-10, 90), rapid.Just(21.4),
			rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, 0, 5e-324})).Draw(rt, "f"))
	case protocol.Int:
		r.Value = protocol.IntValue(rapid.OneOf(rapid.Int64Range(-5, 5), rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64})).Draw(rt, "i"))
	case protocol.Bool:
		r.Value = protocol.BoolValue(rapid.Bool().Draw(rt, "b"))
	default:
		r.Value = protocol.TextValue(rapid.SampledFrom([]string{"", "on", "off"}).Draw(rt, "t"))
	}
	return r
}

// source makes random telemetry of one schema.
type source struct {
	schema *protocol.Schema
	now    int64
	before map[uint64]map[int][]raw // by seq and point
}

func drawSchema(rt *rapid.T, device string) *protocol.Schema {
	var ps []protocol.Point
	for _, name := range []string{"x", "x_min", "y", strings.Repeat("n", 63), "z"}[:rapid.IntRange(1, 5).Draw(rt, "points")] {
		p := protocol.Point{Name: device + "." + name, Kind: protocol.Kind(rapid.IntRange(0, 3).Draw(rt, "kind"))}
		if p.Kind == protocol.Float && rapid.Bool().Draw(rt, "scaled") {
			p.Scale = protocol.Scale{Num: 1, Den: 10}
		}
		ps = append(ps, p)
	}
	var groups []int
	if len(ps) > 1 && rapid.Bool().Draw(rt, "grouped") {
		groups = []int{1, len(ps) - 1}
	}
	s, err := protocol.NewSchema(ps, groups)
	if err != nil {
		rt.Fatal(err)
	}
	return s
}

// message makes a message of a few scans that does not cross the border of a
// minute, unless it may.
func (s *source) message(rt *rapid.T, seq uint64, cross bool) Stored {
	b := protocol.NewBuilder(s.schema)
	s.before[seq] = map[int][]raw{}
	for range rapid.IntRange(1, 3).Draw(rt, "scans") {
		step := rapid.Int64Range(1000, 25000).Draw(rt, "step")
		if !cross && b.Scans() > 0 && minuteOf(s.now+step+10) != minuteOf(s.now) {
			break
		}
		s.now += step
		if !cross && minuteOf(s.now+10) != minuteOf(s.now) {
			s.now += 10
		}
		times := make([]int64, len(s.schema.Groups))
		readings := make([]protocol.Reading, len(s.schema.Points))
		for g := range times {
			times[g] = s.now + int64(g)*7
		}
		for p := range readings {
			readings[p] = drawReading(rt, s.schema.Points[p].Kind)
			g := 0
			if p >= s.schema.Groups[0] {
				g = 1
			}
			s.before[seq][p] = append(s.before[seq][p], raw{times[g], readings[p]})
		}
		if err := b.Add(times, readings); err != nil {
			rt.Fatal(err)
		}
	}
	body, err := b.Body(s.now)
	if err != nil {
		rt.Fatal(err)
	}
	m := protocol.Message{Type: protocol.TypeTelemetry, Epoch: 1, Seq: seq, Time: s.now, Boot: 7, Mono: uint64(s.now - noon/2), Clock: protocol.ClockSynced, Body: body}
	data, err := m.Encode()
	if err != nil {
		rt.Fatal(err)
	}
	return Stored{Seq: seq, Data: data, Type: m.Type, Time: m.Time}
}

// TestThinnedMinutes compares what stands in for random telemetry of several
// interleaved schemas with all readings of what it stands for.
func TestThinnedMinutes(t *testing.T) {
	minutes := 0
	rapid.Check(t, func(rt *rapid.T) {
		cross := rapid.Bool().Draw(rt, "cross")
		schemas := map[protocol.SchemaID]*protocol.Schema{}
		lookup := func(id protocol.SchemaID) *protocol.Schema { return schemas[id] }
		var sources []*source
		for _, device := range []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(rt, "schemas")] {
			s := drawSchema(rt, device)
			schemas[s.ID()] = s
			sources = append(sources, &source{s, noon + rapid.Int64Range(-90000, 90000).Draw(rt, "start"), map[uint64]map[int][]raw{}})
		}
		th := newThinner(0)
		n := rapid.IntRange(1, 60).Draw(rt, "messages")
		for seq := uint64(1); seq <= uint64(n); seq++ {
			s := sources[0]
			for _, other := range sources {
				if other.now < s.now {
					s = other
				}
			}
			th.take(s.message(rt, seq, cross), lookup)
		}
		for _, s := range sources {
			g := th.groups[s.schema.ID()]
			if g == nil {
				continue
			}
			g.settle()
			if err := g.close(); err != nil {
				rt.Fatal(err)
			}
			minutes += checkGroup(rt, g, s)
		}
	})
	if minutes == 0 {
		t.Error("nothing was compared")
	}
}

// checkGroup compares all that a group has made; it returns its minutes.
func checkGroup(rt *rapid.T, g *thinGroup, s *source) int {
	type place struct {
		minute int64
		point  int
	}
	before, latest := map[place][]raw{}, map[int64]map[int]int64{}
	for _, r := range g.whole.seqs.Ranges() {
		for seq := r.First; seq <= r.Last; seq++ {
			if s.before[seq] == nil {
				rt.Fatalf("message %d is not of this schema", seq)
			}
			for p := range s.schema.Points {
				for _, x := range s.before[seq][p] {
					k := place{minuteOf(x.at), p}
					before[k] = append(before[k], x)
					if x.r.Quality != protocol.NotRead {
						if latest[k.minute] == nil {
							latest[k.minute] = map[int]int64{}
						}
						group := g.w.group[p]
						latest[k.minute][group] = max(latest[k.minute][group], x.at)
					}
				}
			}
		}
	}
	if g.whole.seqs.Count() != uint64(len(s.before)) {
		rt.Fatalf("%d of %d messages were taken", g.whole.seqs.Count(), len(s.before))
	}
	seen := map[int64]bool{}
	for _, made := range g.made {
		m := made.message
		tel, err := m.Telemetry(func(protocol.SchemaID) *protocol.Schema { return g.w.schema })
		if err != nil {
			rt.Fatal(err)
		}
		for scan := range tel.Scans {
			k := minuteOf(tel.Time(scan, 0))
			if seen[k] {
				rt.Fatalf("minute %d stands twice", k)
			}
			seen[k] = true
			for p := range s.schema.Points {
				if at, ok := latest[k][g.w.group[p]]; ok && at != tel.Time(scan, g.w.at[p]) {
					rt.Fatalf("minute %d point %d: time %d, not %d", k, p, tel.Time(scan, g.w.at[p]), at)
				}
				checkPoint(rt, tel, scan, g.w, p, before[place{k, p}])
			}
		}
		if m.Time != s.now || m.Mono != uint64(s.now-noon/2) || m.Boot != 7 || m.Clock != protocol.ClockSynced {
			rt.Fatalf("stamped %+v", m)
		}
	}
	if len(seen) != len(latest) {
		rt.Fatalf("%d minutes, not %d", len(seen), len(latest))
	}
	return len(seen)
}

func checkPoint(rt *rapid.T, tel *protocol.Telemetry, scan int, w *widened, p int, readings []raw) {
	q, reason, last, numbers := want(readings)
	check := func(at int, right func(protocol.Value) bool) {
		name := w.schema.Points[at].Name
		got := tel.Columns[at].Reading(scan)
		if got.Quality != q || q != protocol.NotRead && got.Reason != reason {
			rt.Fatalf("%s: quality %v %q, not %v %q", name, got.Quality, got.Reason, q, reason)
		}
		if q < protocol.Bad && !right(got.Value) {
			rt.Fatalf("%s: %v of %v", name, got.Value.Any(), readings)
		}
	}
	check(w.at[p], func(v protocol.Value) bool { return v == last })
	for k, at := range w.more[p] {
		if at < 0 {
			continue
		}
		check(at, func(v protocol.Value) bool {
			if len(numbers) == 0 {
				return math.IsNaN(v.Float())
			}
			low, high := wantMinMax(numbers)
			return [...]func() bool{func() bool { return v == low }, func() bool { return v == high },
				func() bool { return v.Kind() == protocol.Float && meanIs(v.Float(), numbers) }}[k]()
		})
	}
}

func TestWiden(t *testing.T) {
	long := strings.Repeat("n", 63)
	var many []protocol.Point
	for i := range 3000 {
		many = append(many, protocol.Point{Name: "d.p" + strings.Repeat("q", i%20) + string(rune('a'+i%26)) + strings.Repeat("z", i/520) + "-" + string(rune('a'+i/26%20)), Kind: protocol.Int})
	}
	seen := map[string]bool{}
	unique := many[:0]
	for _, p := range many {
		if !seen[p.Name] {
			seen[p.Name] = true
			unique = append(unique, p)
		}
	}
	for name, c := range map[string]struct {
		points []protocol.Point
		want   []string // nil: not compared
	}{
		"numbers":  {[]protocol.Point{{Name: "d.x"}, {Name: "d.s", Kind: protocol.Text}}, []string{"d.x", "d.x_min", "d.x_max", "d.x_mean", "d.s"}},
		"taken":    {[]protocol.Point{{Name: "d.x"}, {Name: "d.x_min", Kind: protocol.Bool}}, []string{"d.x", "d.x_1m_min", "d.x_max", "d.x_mean", "d.x_min"}},
		"both":     {[]protocol.Point{{Name: "d.x_min", Kind: protocol.Bool}, {Name: "d.x_1m_min", Kind: protocol.Bool}, {Name: "d.x"}}, []string{"d.x_min", "d.x_1m_min", "d.x", "d.x_max", "d.x_mean"}},
		"long":     {[]protocol.Point{{Name: "d." + long}}, []string{"d." + long, "d." + long[:59] + "_min", "d." + long[:59] + "_max", "d." + long[:58] + "_mean"}},
		"too many": {unique, nil},
	} {
		s, err := protocol.NewSchema(c.points, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		w := widen(s)
		if w == nil {
			t.Fatalf("%s: no schema", name)
		}
		for i, p := range s.Points {
			if w.schema.Points[w.at[i]] != p {
				t.Errorf("%s: %s is %v", name, p.Name, w.schema.Points[w.at[i]])
			}
		}
		for i, n := range c.want {
			if len(c.want) != len(w.schema.Points) || w.schema.Points[i].Name != n {
				t.Fatalf("%s: %v", name, w.schema.Points)
			}
		}
		if c.want == nil && len(w.schema.Points) < 2*len(s.Points)/2 {
			t.Errorf("%s: %d points of %d", name, len(w.schema.Points), len(s.Points))
		}
	}
}

// TestThinnedClocks: what a clock message says of a reading is the same before
// and after thinning, over boots, a clock that is set, and one that steps.
func TestThinnedClocks(t *testing.T) {
	s, err := protocol.NewSchema([]protocol.Point{{Name: "d.x", Kind: protocol.Int}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(protocol.SchemaID) *protocol.Schema { return s }
	th := newThinner(0)
	type clocks struct {
		boot   uint64
		clock  protocol.ClockQuality
		offset int64 // wall less monotonic time
	}
	eras := []clocks{{7, protocol.ClockUnknown, -500}, {7, protocol.ClockUnknown, 3_600_000}, {7, protocol.ClockSynced, noon}, {8, protocol.ClockSynced, noon}}
	seq, mono := uint64(0), uint64(0)
	for _, era := range eras {
		for range 150 {
			seq++
			mono += 1000
			at := int64(mono) + era.offset
			b := protocol.NewBuilder(s)
			if err := b.Add([]int64{at}, []protocol.Reading{{Value: protocol.IntValue(int64(seq))}}); err != nil {
				t.Fatal(err)
			}
			m := protocol.Message{Type: protocol.TypeTelemetry, Epoch: 1, Seq: seq, Time: at, Boot: era.boot, Mono: mono, Clock: era.clock}
			if m.Body, err = b.Body(at); err != nil {
				t.Fatal(err)
			}
			data, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			th.take(Stored{Seq: seq, Data: data, Type: m.Type, Time: at}, lookup)
		}
	}
	made, all := th.collect(true)
	if len(made) != len(eras) || all.seqs.Count()+60 < seq { // the last minute may not be over
		t.Fatalf("%d messages stand in for %s", len(made), all.seqs)
	}
	for i, era := range eras {
		m := made[i].message
		if got := (clocks{m.Boot, m.Clock, m.Time - int64(m.Mono)}); got != era {
			t.Errorf("message %d has %+v, not %+v", i, got, era)
		}
		tel, err := m.Telemetry(func(protocol.SchemaID) *protocol.Schema { return made[i].schema })
		if err != nil {
			t.Fatal(err)
		}
		for scan := range tel.Scans { // the last reading of a minute says which it was
			if at, n := tel.Times[scan], tel.Columns[0].Value(scan).Int(); at-era.offset != 1000*n {
				t.Errorf("message %d: reading %d at %d", i, n, at)
			}
		}
	}
}
