package sampler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tidemark/agent/clock"
	"tidemark/agent/hops"
	"tidemark/agent/profile"
	"tidemark/drivers"
	"tidemark/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a driver whose only bus does what a test says.
type script struct {
	read  func(ctx context.Context, i int, s *drivers.Scan) error
	scans []drivers.ScanSpec
	mu    sync.Mutex
	calls []time.Time
	ended bool
}

func (s *script) Scans() []drivers.ScanSpec { return s.scans }

func (s *script) Read(ctx context.Context, i int, scan *drivers.Scan) error {
	s.mu.Lock()
	s.calls = append(s.calls, time.Now())
	s.mu.Unlock()
	return s.read(ctx, i, scan)
}

func (s *script) Close() error { s.ended = true; return nil }

// polls returns how long after start each Read began.
func (s *script) polls(start time.Time) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []time.Duration
	for _, at := range s.calls {
		out = append(out, at.Sub(start))
	}
	return out
}

// counting reads 1, 2, 3 … at the time of the read.
func counting() func(context.Context, int, *drivers.Scan) error {
	n := int64(0)
	return func(_ context.Context, _ int, s *drivers.Scan) error {
		n++
		s.Times[0] = time.Now()
		for i := range s.Readings {
			s.Set(i, drivers.IntValue(n))
		}
		return nil
	}
}

// taken is what a queue was given.
type taken struct {
	message *protocol.Message
	schema  *protocol.Schema
	at      time.Time
}

type memory struct {
	mu   sync.Mutex
	got  []taken
	fail error
}

func (q *memory) Append(ctx context.Context, m *protocol.Message, s *protocol.Schema, _ bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fail != nil {
		return q.fail
	}
	m.Epoch, m.Seq = 1, uint64(len(q.got)+1)
	q.got = append(q.got, taken{m, s, time.Now()})
	return nil
}

func (q *memory) all() []taken {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.got)
}

// sample is one reading of the first point.
type sample struct {
	at int64
	r  protocol.Reading
}

// samples decodes all readings of point p.
func (q *memory) samples(t *testing.T, p int) (out []sample) {
	t.Helper()
	for _, g := range q.all() {
		tel, err := g.message.Telemetry(func(protocol.SchemaID) *protocol.Schema { return g.schema })
		if err != nil {
			t.Fatalf("message %d: %v", g.message.Seq, err)
		}
		for i := range tel.Scans {
			if r := tel.Columns[p].Reading(i); r.Quality != protocol.NotRead {
				out = append(out, sample{tel.Time(i, p), r})
			}
		}
	}
	return out
}

func (q *memory) ints(t *testing.T) (out []int64) {
	t.Helper()
	for _, s := range q.samples(t, 0) {
		out = append(out, s.r.Value.Int())
	}
	return out
}

// bus makes a bus of one device with one point x that s reads each second.
func bus(t *testing.T, s *script, q Queue, every time.Duration, settings string) *Bus {
	t.Helper()
	return busLogging(t, s, q, every, settings, io.Discard)
}

func busLogging(t *testing.T, s *script, q Queue, every time.Duration, settings string, logs io.Writer) *Bus {
	t.Helper()
	d := drivers.Driver{Name: "script", Version: "1", Summary: "what a test says", Open: func(b drivers.BusSpec) (drivers.Sensor, error) {
		if s.scans == nil {
			for _, dev := range b.Devices {
				scan := drivers.ScanSpec{Device: dev.Name, Interval: dev.Interval, Groups: []int{len(dev.Points)}}
				for _, p := range dev.Points {
					scan.Points = append(scan.Points, drivers.Point{Device: dev.Name, Name: p.Name, Type: drivers.Int})
				}
				s.scans = append(s.scans, scan)
			}
		}
		return s, nil
	}}
	text := "version: 1\nsite: s\ngateway: g\nbuses:\n  - name: b\n    driver: script\n    devices:\n      - name: d\n        points:\n          - {name: x" + settings + "}\n"
	p, err := profile.Parse("test.yaml", []byte(text), []drivers.Driver{d}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(logs, nil))
	b, err := New(p.Buses[0], Config{Every: every, Queue: q, Clock: clock.New(log), Hops: &hops.Recorder{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// runFor runs buses in the test's bubble for d and returns when they began.
func runFor(t *testing.T, d time.Duration, buses ...*Bus) (start time.Time) {
	t.Helper()
	start = time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, len(buses))
	for _, b := range buses {
		go func() { errs <- b.Run(ctx) }()
	}
	time.Sleep(d) // of the bubble's time
	synctest.Wait()
	cancel()
	for range buses {
		if err := <-errs; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	return start
}

func TestSlowPollSkipsGridPointsAndNeverBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := &script{}, &memory{}
		n := 0
		s.read = func(_ context.Context, _ int, scan *drivers.Scan) error {
			if n++; n == 3 {
				time.Sleep(3500 * time.Millisecond)
			}
			scan.Times[0] = time.Now()
			scan.Set(0, drivers.IntValue(int64(n)))
			return nil
		}
		b := bus(t, s, q, time.Second, "")
		got := s.polls(runFor(t, 8*time.Second+time.Millisecond, b))
		want := []time.Duration{0, 1, 2, 6, 7, 8} // seconds; 3, 4 and 5 passed while the third poll hung
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(got, want) {
			t.Errorf("polls at %v, want %v", got, want)
		}
		if late := b.State(false).LateMax; late != 0 {
			t.Errorf("a skipped grid point counts as %d ms late", late)
		}
	})
}

func TestHungBusMovesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, well, q := &script{}, &script{read: counting()}, &memory{}
		hung.read = func(ctx context.Context, _ int, _ *drivers.Scan) error { <-ctx.Done(); return ctx.Err() }
		start := runFor(t, 10*time.Second, bus(t, hung, &memory{}, time.Second, ""), bus(t, well, q, time.Second, ""))
		if n := len(hung.polls(start)); n != 1 {
			t.Errorf("the hung bus was asked %d times at once", n)
		}
		for i, at := range well.polls(start) {
			if want := time.Duration(i) * time.Second; at != want {
				t.Errorf("poll %d of the other bus at %v, want %v", i, at, want)
			}
		}
		if got := len(q.samples(t, 0)); got < 10 {
			t.Errorf("the other bus has %d readings, want 10 or more", got)
		}
		if !hung.ended || !well.ended {
			t.Error("a bus was not closed")
		}
	})
}

func TestFailedPollsAreBadReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := &script{}, &memory{}
		n := 0
		s.read = func(_ context.Context, _ int, scan *drivers.Scan) error {
			n++
			switch n {
			case 2, 3:
				scan.Set(0, drivers.IntValue(666)) // what came before the panic must not be used
				panic("a bug in the driver")
			case 4:
				scan.Set(0, drivers.IntValue(667))
				return &drivers.ReadError{Reason: drivers.ReasonChecksum, Err: errors.New("crc")}
			case 5:
				return context.DeadlineExceeded
			}
			scan.Times[0] = time.Now()
			scan.Set(0, drivers.IntValue(int64(n)))
			return nil
		}
		var logs bytes.Buffer
		b := busLogging(t, s, q, time.Second, "", &logs)
		runFor(t, 5*time.Second+time.Millisecond, b)
		var got []string
		for _, x := range q.samples(t, 0) {
			if x.r.Quality == protocol.Bad {
				got = append(got, x.r.Reason)
			} else {
				got = append(got, fmt.Sprint(x.r.Value.Int()))
			}
		}
		if want := []string{"1", "panic", "panic", "checksum", "timeout", "6"}; !slices.Equal(got, want) {
			t.Errorf("readings %q, want %q", got, want)
		}
		for what, want := range map[string]int{"the driver panicked\"": 1, "a poll failed": 3, "polls succeed again": 1} {
			if n := strings.Count(logs.String(), what); n != want {
				t.Errorf("%q was logged %d times, want %d:\n%s", what, n, want, logs.String())
			}
		}
		if st := b.State(false); st.Good != 2 || st.Bad != 4 || st.Points != 1 || st.Fresh != 1 {
			t.Errorf("state %+v", st)
		}
	})
}

func TestReportByException(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := &script{}, &memory{}
		values := []int64{100, 101, 101, 102, 102, 102, 102, 102, 102, 102}
		n := 0
		s.read = func(_ context.Context, _ int, scan *drivers.Scan) error {
			scan.Times[0] = time.Now()
			if n == 5 {
				scan.Fail(0, drivers.ReasonTimeout)
			} else {
				scan.Set(0, drivers.IntValue(values[n]))
			}
			n = min(n+1, len(values)-1)
			return nil
		}
		start := runFor(t, 12*time.Second+time.Millisecond, bus(t, s, q, time.Second, ", deadband: 2, max_silence: 5s"))
		var got []string
		for _, x := range q.samples(t, 0) {
			got = append(got, fmt.Sprintf("%d %d%s", (x.at-start.UnixMilli())/1000, x.r.Value.Int(), x.r.Reason))
		}
		// 100 first; 101 is inside; 102 has moved by 2; the failure and the
		// recovery are told; then nothing moves until the silence was long enough.
		if want := []string{"0 100", "3 102", "5 0timeout", "6 102", "11 102"}; !slices.Equal(got, want) {
			t.Errorf("reported %q, want %q", got, want)
		}
	})
}

func TestStepOfTheWallClockMovesNoDistances(t *testing.T) {
	b := bus(t, &script{read: counting()}, &memory{}, time.Second, "")
	batch := newBatch(b, 0)
	batch.began = time.Now()
	batch.wall = batch.began.Add(-365 * 24 * time.Hour).UnixMilli() // what the wall clock said before it was set
	if got := batch.millis(batch.began.Add(1500*time.Millisecond)) - batch.wall; got != 1500 {
		t.Errorf("a reading 1.5 s after the first one is placed %d ms after it", got)
	}
	recorded := drivers.ScanSpec{Recorded: true}
	batch.spec = &recorded
	if got := batch.millis(time.UnixMilli(12345)); got != 12345 {
		t.Errorf("a recorded time became %d, want 12345", got)
	}
}

func TestFullMessageGoesOutBeforeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const scans = 150_000
		count := counting()
		n := 0
		s := &script{scans: []drivers.ScanSpec{{Points: []drivers.Point{{Device: "d", Name: "x", Type: drivers.Int}}, Groups: []int{1}}}}
		s.read = func(ctx context.Context, i int, scan *drivers.Scan) error {
			if n++; n > scans {
				return io.EOF
			}
			return count(ctx, i, scan)
		}
		q := &memory{}
		runFor(t, time.Second, bus(t, s, q, time.Hour, ""))
		got := q.ints(t)
		if len(got) != scans {
			t.Fatalf("%d readings arrived of %d", len(got), scans)
		}
		for i, v := range got {
			if v != int64(i+1) {
				t.Fatalf("reading %d is %d", i, v)
			}
		}
		if len(q.all()) < 2 {
			t.Error("all of them stand in one message")
		}
	})
}

// Texts fill a message before Builder.Full says so.
func TestLongTextsFillMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const scans = 400
		n := 0
		s := &script{scans: []drivers.ScanSpec{{Groups: []int{8}}}}
		for i := range 8 {
			s.scans[0].Points = append(s.scans[0].Points, drivers.Point{Device: "d", Name: fmt.Sprint("x", i), Type: drivers.Text})
		}
		s.read = func(_ context.Context, _ int, scan *drivers.Scan) error {
			if n++; n > scans {
				return io.EOF
			}
			scan.Times[0] = time.Now()
			for i := range scan.Readings {
				scan.Set(i, drivers.TextValue(fmt.Sprintf("%d %d %s", n, i, strings.Repeat("x", 4000))))
			}
			return nil
		}
		q := &memory{}
		runFor(t, time.Second, bus(t, s, q, time.Hour, ""))
		got := q.samples(t, 7)
		if len(got) != scans {
			t.Fatalf("%d readings arrived of %d", len(got), scans)
		}
		for i, x := range got {
			if want := fmt.Sprintf("%d 7 ", i+1); x.r.Quality < protocol.Bad && !strings.HasPrefix(x.r.Value.Text(), want) {
				t.Fatalf("reading %d begins %.20q, want %q", i, x.r.Value.Text(), want)
			}
		}
		if len(q.all()) < 2 {
			t.Error("all of them stand in one message")
		}
	})
}

func TestWrongKindIsLeftOutAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := &script{}, &memory{}
		n := int64(0)
		s.read = func(_ context.Context, _ int, scan *drivers.Scan) error {
			scan.Times[0] = time.Now()
			if n++; n == 2 || n == 3 {
				scan.Set(0, drivers.TextValue("a bug in the driver"))
			} else {
				scan.Set(0, drivers.IntValue(n))
			}
			return nil
		}
		var logs bytes.Buffer
		runFor(t, 4*time.Second+time.Millisecond, busLogging(t, s, q, time.Second, "", &logs))
		if got := q.ints(t); !slices.Equal(got, []int64{1, 4, 5}) {
			t.Errorf("readings %v, want 1, 4, 5", got)
		}
		if n := strings.Count(logs.String(), "fits no message"); n != 1 {
			t.Errorf("it was told %d times:\n%s", n, logs.String())
		}
	})
}

func TestStopFlushesWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := &script{read: counting()}, &memory{}
		runFor(t, 4*time.Second+time.Millisecond, bus(t, s, q, time.Hour, ""))
		if got := q.ints(t); !slices.Equal(got, []int64{1, 2, 3, 4, 5}) {
			t.Errorf("readings %v, want 1 to 5", got)
		}
		if !s.ended {
			t.Error("the bus was not closed")
		}
	})
}

func TestRefusingQueueEndsTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := errors.New("closed")
		b := bus(t, &script{read: counting()}, &memory{fail: refuse}, time.Second, "")
		done := make(chan error, 1)
		go func() { done <- b.Run(t.Context()) }()
		select {
		case err := <-done:
			if !errors.Is(err, refuse) {
				t.Errorf("run: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the bus goes on without its queue")
		}
	})
}

func TestWatchersNeverHoldABusUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := &script{read: counting()}, &memory{}
		b := bus(t, s, q, time.Second, "")
		stuck, live := make(chan Observation), make(chan Observation, 100)
		stop := b.Tap(stuck)
		defer stop()
		defer b.Tap(live)()
		start := runFor(t, 3*time.Second+time.Millisecond, b)
		if n := len(s.polls(start)); n != 4 {
			t.Errorf("%d polls, want 4", n)
		}
		if len(live) != 4 {
			t.Errorf("a watcher saw %d scans, want 4", len(live))
		}
		if o := <-live; o.Bus != "b" || o.Scan.Readings[0].Value.Int() != 1 || o.Spec.Points[0].Name != "x" {
			t.Errorf("it saw %+v", o)
		}
	})
}

// A driver that hangs in the kernel and hears of no context keeps the agent
// from ending for a moment only, and costs nothing that was read before.
func TestDriverThatNeverComesBackIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs bytes.Buffer
		s, q, release := &script{}, &memory{}, make(chan struct{})
		count, n := counting(), 0
		s.read = func(ctx context.Context, i int, scan *drivers.Scan) error {
			if n++; n > 3 {
				<-release
			}
			return count(ctx, i, scan)
		}
		b := busLogging(t, s, q, time.Hour, "", &logs)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		time.Sleep(10 * time.Second) // of the bubble's time
		cancel()
		began := time.Now()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("it ended after %v", d)
		}
		if got := q.ints(t); !slices.Equal(got, []int64{1, 2, 3}) {
			t.Errorf("readings %v, want 1 to 3", got)
		}
		if !strings.Contains(logs.String(), "left behind") {
			t.Errorf("it is not told: %s", logs.String())
		}
		close(release)
		synctest.Wait()
		if !s.ended {
			t.Error("a driver that comes back late is not closed")
		}
	})
}
