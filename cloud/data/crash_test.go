package data

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// The test binary is also the process that is killed: a data service on the
// bus and folder that its environment names.
func TestMain(m *testing.M) {
	if url := os.Getenv("TIDEMARK_DATA_TEST_BUS"); url != "" {
		runChild(url, os.Getenv("TIDEMARK_DATA_TEST_DIR"))
	}
	os.Exit(m.Run())
}

// crashConfig flushes and seals as often as it can, so that kills meet both.
func crashConfig(dir string) Config {
	return Config{Dir: dir, FlushInterval: 3 * time.Millisecond, SealAfter: time.Millisecond, SealQuiet: 20 * time.Millisecond, SealInterval: 30 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
}

func runChild(url, dir string) {
	ctx := context.Background()
	cfg := crashConfig(dir)
	b, err := bus.Open(ctx, bus.Config{URL: url, Log: cfg.Log})
	if err == nil {
		var s *Service
		if s, err = New(cfg, b.Conn(), b.JetStream()); err == nil {
			fmt.Println("running")
			err = s.Run(ctx)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Killed at any moment, the service stores every reading exactly once: in
// several files, with late readings, and with some that waited for a clock.
func TestKilledAtAnyMomentItStoresEachReadingOnce(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx := context.Background()
	b, err := bus.Open(ctx, bus.Config{Dir: dir + "/bus", Listen: "127.0.0.1:0", Log: log})
	if err == nil {
		err = b.Prepare(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	f := newFeed(t, b.JetStream(), protocol.Point{Name: "a.n"}, protocol.Point{Name: "a.m"})
	src := &source{t: t, f: f, bus: b, base: time.Now().Add(-50 * time.Hour).UnixMilli(), rnd: rand.New(rand.NewPCG(1, 2))}
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		kill := startChild(t, b.URL(), dir+"/data")
		end := time.Now().Add(time.Duration(20+src.rnd.IntN(300)) * time.Millisecond)
		for time.Now().Before(end) {
			src.publish()
		}
		kill()
	}
	last := src.finish()

	cfg := crashConfig(dir + "/data")
	st := &station{t: t, dir: dir, bus: b, cfg: cfg}
	st.start()
	defer func() { st.stop() }()
	if c := st.reach(last); c.Readings != int64(2*src.next) {
		t.Errorf("%d readings are counted, %d were committed", c.Readings, 2*src.next)
	}
	src.compare(st)
	over := 0
	for _, at := range src.at {
		if _, end := hourBounds(floorDiv(at, hourMs)); end < time.Now().UnixMilli()-1000 {
			over++
		}
	}
	until(t, "every hour that is over in the lake", func() bool { return len(lakeRows(t, dir+"/data")) >= 2*over })
	src.compare(st)
	st.stop()
	checkLake(t, dir+"/data", src)
}

func startChild(t *testing.T, url, dir string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TIDEMARK_DATA_TEST_BUS="+url, "TIDEMARK_DATA_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal("the child does not start: ", err)
	}
	return func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it says "killed"
	}
}

// source publishes numbered readings: at increasing times over some days, now
// and then late, and now and then by boots whose clock is told later.
type source struct {
	t    *testing.T
	f    *feed
	bus  *bus.Bus
	base int64
	rnd  *rand.Rand
	next int
	at   []int64 // the time of each number
	boot uint64
}

func (s *source) publish() uint64 {
	var times []int64
	var scans [][]protocol.Reading
	f := s.f
	f.boot, f.clock, f.mono = 1, protocol.ClockSynced, 0
	unknown := s.rnd.IntN(4) == 0
	first := s.base + int64(s.next)*9000
	if s.rnd.IntN(5) == 0 {
		first -= 20 * 3600_000
	}
	n := 1 + s.rnd.IntN(20)
	for i := range n {
		t := first + int64(i)*1000
		s.at = append(s.at, t)
		times = append(times, t)
		scans = append(scans, []protocol.Reading{one(float64(s.next))[0], one(-float64(s.next))[0]})
		s.next++
	}
	if unknown {
		s.boot++
		f.boot, f.clock, f.mono = 100+s.boot/3, protocol.ClockUnknown, uint64(first-s.base)
		for i := range times {
			times[i] = times[i] - first + 5_000_000 // some day in 1970
		}
	}
	m := f.message(times, scans...)
	if unknown {
		m.Mono = uint64(s.at[len(s.at)-1] - s.base + 400_000_000) // late readings too are after the boot
		if s.boot%3 == 2 {
			defer s.tellClock(f.boot)
		}
	}
	return publish(s.t, s.bus.JetStream(), gw, m)
}

// tellClock says what the monotonic time of a boot is: 400,000 s at base.
func (s *source) tellClock(boot uint64) uint64 {
	c := protocol.Clock{Boot: boot, Mono: 500_000_000, UTC: s.base + 100_000_000, Quality: protocol.ClockSynced}
	s.f.seq++
	return publish(s.t, s.bus.JetStream(), gw, &protocol.Message{Type: protocol.TypeClock, Epoch: 1, Seq: s.f.seq, Time: s.base, Boot: boot, Mono: 1, Clock: protocol.ClockSynced, Body: c.Encode()})
}

func (s *source) finish() uint64 {
	s.publish()
	return s.tellClock(100 + s.boot/3)
}

// compare reads all readings back.
func (s *source) compare(st *station) {
	s.t.Helper()
	seen := map[int]int{}
	q := contract.ReadingsQuery{Site: "plant", Points: []string{"a.n"}, Limit: maxLimit}
	for {
		r := ask[contract.ReadingsResult](s.t, st, contract.ReqReadings, q)
		if r.Problem != nil {
			s.t.Fatal(r.Problem)
		}
		for _, x := range r.Readings {
			n := int(x.Value.(float64))
			if seen[n]++; x.TimeMs != s.at[n] {
				s.t.Errorf("reading %d stands at %d, not at %d", n, x.TimeMs, s.at[n])
			}
		}
		if q.Cursor = r.Next; r.Next == "" {
			break
		}
	}
	for n := range s.next {
		if seen[n] != 1 {
			s.t.Errorf("reading %d is there %d times", n, seen[n])
		}
	}
}
