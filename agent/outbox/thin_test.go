package outbox

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"tidemark/protocol"
)

// plant appends telemetry of one schema, a message a second of its own time.
type plant struct {
	schema  *protocol.Schema
	builder *protocol.Builder
	now     int64
	boot    uint64
}

func newPlant(t testing.TB, device string, points int, start int64) *plant {
	t.Helper()
	var ps []protocol.Point
	for i := range points {
		ps = append(ps, protocol.Point{Name: fmt.Sprintf("%s.p%d", device, i), Unit: "Cel", Scale: protocol.Scale{Num: 1, Den: 10}, Base: 200})
	}
	s, err := protocol.NewSchema(ps, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &plant{s, protocol.NewBuilder(s), start, 7}
}

func (p *plant) message(t testing.TB) *protocol.Message {
	t.Helper()
	readings := make([]protocol.Reading, len(p.schema.Points))
	for i := range readings {
		readings[i].Value = protocol.FloatValue(float64(200+int(30*math.Sin(float64(p.now)/1e6+float64(i)))) / 10)
	}
	p.builder.Reset()
	if err := p.builder.Add([]int64{p.now}, readings); err != nil {
		t.Fatal(err)
	}
	m := &protocol.Message{Type: protocol.TypeTelemetry, Time: p.now, Boot: p.boot, Mono: uint64(p.now - 1e12), Clock: protocol.ClockSynced}
	var err error
	if m.Body, err = p.builder.Body(p.now); err != nil {
		t.Fatal(err)
	}
	p.now += 1000
	return m
}

func (p *plant) append(t testing.TB, o *Outbox, n int) {
	t.Helper()
	for range n {
		if _, err := o.Append(t.Context(), p.message(t), p.schema, false); err != nil {
			t.Fatal(err)
		}
		if o.pendingBytes >= o.cfg.CommitBytes {
			commitAll(t, o)
		}
	}
	commitAll(t, o)
}

// commitAll does what Run would.
func commitAll(t testing.TB, o *Outbox) {
	t.Helper()
	o.io.Lock()
	defer o.io.Unlock()
	if err := o.drain(); err != nil {
		t.Fatal(err)
	}
}

// thinStepOnce does one step of Run at which thinning is due.
func thinStepOnce(o *Outbox) (more bool) {
	o.thin.next = time.Time{}
	o.step(&retry{})
	return o.thin.more
}

func thinAll(t testing.TB, o *Outbox) {
	t.Helper()
	for n := 0; thinStepOnce(o); n++ {
		if n > 100_000 {
			t.Fatal("thinning does not end")
		}
	}
}

func openThin(t testing.TB, cfg Config) *Outbox {
	t.Helper()
	cfg.Log = quiet()
	o, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// audit fails unless every seq of the outbox is readable, acknowledged, or
// named in exactly one dropped message. It returns those named, by cause, and
// the telemetry that can be read.
func audit(t testing.TB, o *Outbox) (named map[string]*protocol.Set, telemetry []*protocol.Message) {
	t.Helper()
	o.mu.Lock()
	for _, s := range o.segments {
		if s.err != nil {
			t.Fatalf("segment %s: %v", s.path, s.err)
		}
	}
	o.mu.Unlock()
	named = map[string]*protocol.Set{}
	var all, read protocol.Set
	for _, s := range readAll(t, o) {
		read.Add(s.Seq, s.Seq)
		m, err := protocol.DecodeMessage(s.Data)
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == protocol.TypeTelemetry {
			telemetry = append(telemetry, m)
		}
		if m.Type != protocol.TypeDropped {
			continue
		}
		var d protocol.Dropped
		if err := protocol.Unmarshal(m.Body, &d); err != nil {
			t.Fatal(err)
		}
		if twice := d.Ranges.Minus(d.Ranges.Minus(all)); !twice.Empty() || d.Ranges.Max() >= m.Seq || d.Count != d.Ranges.Count() {
			t.Fatalf("dropped message %d names %s, of which %s are named before", m.Seq, d.Ranges, twice)
		}
		if by := d.By; d.Cause == protocol.CauseThinned && (by.Empty() || by.Max() >= m.Seq) {
			t.Fatalf("dropped message %d: %s stand in", m.Seq, by)
		}
		all.AddSet(d.Ranges)
		if named[d.Cause] == nil {
			named[d.Cause] = &protocol.Set{}
		}
		named[d.Cause].AddSet(d.Ranges)
	}
	if both := read.Minus(read.Minus(all)); !both.Empty() {
		t.Fatalf("readable, and named lost: %s", both)
	}
	all.AddSet(read)
	all.AddSet(o.Acked())
	if missing := all.Missing(1, o.Head()); !missing.Empty() && o.Head() > 0 {
		t.Fatalf("neither readable nor acknowledged nor named: %s", missing)
	}
	return named, telemetry
}

func thinConfig(dir string) Config {
	return Config{Dir: dir, Budget: 2 << 20, SegmentBytes: 64 << 10, CommitBytes: 32 << 10, ThinAt: 0.2}
}

// secondsIn returns how many different minutes the telemetry covers.
func minutesIn(t testing.TB, o *Outbox, msgs []*protocol.Message) map[int64]int {
	t.Helper()
	out := map[int64]int{}
	for _, m := range msgs {
		tel, err := m.Telemetry(o.Schema)
		if err != nil {
			t.Fatalf("message %d: %v", m.Seq, err)
		}
		for _, at := range tel.Times {
			out[minuteOf(at)]++
		}
	}
	return out
}

const noon = int64(1_767_268_800_000) // 2026-01-01T12:00:00Z

// TestThinCrash looks at a copy of the files after each step.
func TestThinCrash(t *testing.T) {
	cfg := thinConfig(t.TempDir())
	o := openThin(t, cfg)
	defer func() { o.Close() }()
	p := newPlant(t, "pump", 20, noon)
	const n = 9000
	p.append(t, o, n)
	steps := 0
	for more := true; more; steps++ {
		more = thinStepOnce(o)
		dir := t.TempDir()
		copyDir(t, cfg.Dir, dir)
		c := cfg
		c.Dir = dir
		q := openThin(t, c)
		commitAll(t, q)
		named, telemetry := audit(t, q)
		if named[protocol.CauseCorrupt] != nil || named[protocol.CauseBudget] != nil {
			t.Fatalf("step %d: named lost %v", steps, named)
		}
		if got := len(minutesIn(t, q, telemetry)); got != n/60 {
			t.Fatalf("step %d: telemetry of %d minutes after a crash, of %d", steps, got, n/60)
		}
		q.mu.Lock()
		in, total := q.standIns.Clone(), q.lost.Count()
		q.mu.Unlock()
		if total > 0 && in.Empty() {
			t.Fatalf("step %d: it does not know what stands in", steps)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	named, _ := audit(t, o)
	st := o.State()
	if named[protocol.CauseThinned] == nil || st.Thinned == 0 || st.Thinned != st.Dropped || st.Thinned != named[protocol.CauseThinned].Count() {
		t.Fatalf("%+v named %v", st, named)
	}
	t.Logf("%d steps, %d of %d messages thinned, %d bytes left", steps, st.Thinned, n, st.Bytes)
	if lost := o.Lost(); lost[0].FromMs != noon || lost[0].By.Empty() {
		t.Errorf("first report %+v", lost[0])
	}
	// It ends, and does not begin anew after a restart, also without its state.
	for _, without := range []bool{false, true} {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if without {
			for _, name := range metaNames {
				if err := os.Remove(o.path(name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		o = openThin(t, cfg)
		o.cfg.ThinAt = 0.001
		commitAll(t, o)
		thinAll(t, o)
		_, telemetry := audit(t, o)
		for _, m := range telemetry {
			tel, err := m.Telemetry(o.Schema)
			if err != nil {
				t.Fatal(err)
			}
			if len(tel.Schema.Points) > 4*20 {
				t.Fatal("what stands in for others was thinned itself")
			}
		}
		if got := len(minutesIn(t, o, telemetry)); got != n/60 {
			t.Fatalf("telemetry of %d minutes, of %d", got, n/60)
		}
	}
}

// TestThinDepth fills an outbox of 1 Hz messages beyond what it could hold,
// with thinning and without, and compares how far back it goes.
func TestThinDepth(t *testing.T) {
	depth := func(at float64) (hours float64) {
		cfg := Config{Dir: t.TempDir(), Budget: 4 << 20, CommitBytes: 32 << 10, ThinAt: at}
		o := openThin(t, cfg)
		defer o.Close()
		p := newPlant(t, "pump", 50, noon)
		full := func() bool { st := o.State(); return st.Dropped > st.Thinned }
		for n := 0; !full(); n++ {
			p.append(t, o, 1000)
			o.step(&retry{})
			if at > 0 {
				thinAll(t, o)
			}
			if n > 2000 {
				t.Fatal("it is never full")
			}
		}
		_, telemetry := audit(t, o)
		if st := o.State(); st.Bytes > uint64(cfg.Budget) {
			t.Fatalf("%+v", st)
		}
		oldest := p.now
		for k := range minutesIn(t, o, telemetry) {
			oldest = min(oldest, k*minuteMs)
		}
		if age := time.Now().UnixMilli() - oldest; at > 0 && math.Abs(float64(o.State().OldestMs)-float64(age)) > 2*3600e3 {
			t.Errorf("oldest age %d, by its readings %d", o.State().OldestMs, age)
		}
		t.Logf("thin at %v: %.1f hours, %d bytes, %d messages thinned", at, float64(p.now-oldest)/3600e3, o.State().Bytes, o.State().Thinned)
		return float64(p.now-oldest) / 3600e3
	}
	with, without := depth(0.8), depth(-1)
	t.Logf("%.1f hours instead of %.1f", with, without)
	if with < 3*without {
		t.Errorf("thinning keeps %.1f hours, without it %.1f are kept", with, without)
	}
}

// TestThinWhileRunning lets Run thin while urgent messages are committed and
// old ones acknowledged and given up.
func TestThinWhileRunning(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Budget: 16 << 20, CommitInterval: 5 * time.Millisecond, ThinAt: 0.5, Log: quiet()}
	o := openThin(t, cfg)
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	p := newPlant(t, "pump", 100, noon)
	for o.total() < cfg.Budget*7/10 {
		p.append(t, o, 1000)
	}
	stop := run(t, o)
	var worst time.Duration
	until(t, "it has thinned", func() bool {
		began := time.Now()
		tk, err := o.Append(t.Context(), event(100), nil, true)
		if err == nil {
			err = tk.Wait(t.Context())
		}
		if err == nil {
			err = o.Ack(protocol.SetOf(protocol.Range{First: tk.Seq(), Last: tk.Seq()}))
		}
		if err == nil {
			err = o.GiveUp(protocol.SetOf(protocol.Range{First: tk.Seq() / 3, Last: tk.Seq() / 3}), protocol.CauseRefused, "Refused by the test.")
		}
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(began))
		return o.State().Bytes < uint64(cfg.Budget)*42/100
	})
	stop()
	named, telemetry := audit(t, o)
	if named[protocol.CauseBudget] != nil || named[protocol.CauseCorrupt] != nil || named[protocol.CauseThinned] == nil {
		t.Errorf("named lost: %v", named)
	}
	minutesIn(t, o, telemetry)
	t.Logf("%d messages thinned; the worst urgent commit took %v", o.State().Thinned, worst)
	if worst > 2*time.Second {
		t.Errorf("a commit waited %v", worst)
	}
}

// TestThinNothing: telemetry that would not get smaller, and what is no
// telemetry at all, stays, and nobody tries for ever.
func TestThinNothing(t *testing.T) {
	cfg := thinConfig(t.TempDir())
	o := openThin(t, cfg)
	defer func() { o.Close() }()
	p := newPlant(t, "pump", 20, noon)
	for range 3000 {
		p.append(t, o, 1)
		p.now += 5 * minuteMs
	}
	mix(t, o, 100)
	commitAll(t, o)
	thinAll(t, o)
	if named, _ := audit(t, o); len(named) > 0 || !o.thin.on || o.thin.more {
		t.Errorf("named lost %v, %+v", named, o.thin)
	}
	if wait := o.thinWait(time.Hour); wait != time.Hour {
		t.Errorf("it looks again after %v", wait)
	}
	o.cfg.ThinAt = -1
	o.thin = thinning{}
	if thinStepOnce(o) || o.thin.on {
		t.Error("it thins, though it is off")
	}
}
