package data

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// Whatever is being flushed, placed or sealed meanwhile: an answer holds
// exactly what was committed up to the position that it names.
func TestAnswersAreExactWhileDataIsWritten(t *testing.T) {
	cfg := quickSeals()
	st := newStation(t, cfg)
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.n"}, protocol.Point{Name: "a.m"})
	src := &source{t: t, f: f, bus: st.bus, base: time.Now().Add(-50 * time.Hour).UnixMilli(), rnd: rand.New(rand.NewPCG(3, 4))}
	var mu sync.Mutex
	total := map[uint64]int{} // readings of each point, up to a position
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			last := src.publish() // a clock message may follow it
			mu.Lock()
			total[last] = src.next
			mu.Unlock()
		}
	}()
	asked := 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); asked++ {
		c := ask[contract.CountResult](t, st, contract.ReqCount, contract.CountQuery{Site: "plant"})
		h := ask[contract.CountResult](t, st, contract.ReqCount, contract.CountQuery{FromMs: src.base + 1_000_500, ToMs: math.MaxInt64})
		r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant", Points: []string{"a.m"}, Limit: maxLimit})
		want := func(through uint64) int {
			var n int
			until(t, "the publisher", func() bool {
				mu.Lock()
				defer mu.Unlock()
				for p := through; p > 0; p-- { // a clock message adds nothing
					if v, ok := total[p]; ok {
						n = v
						break
					}
				}
				_, beyond := total[through+1]
				return beyond || total[through] > 0
			})
			return n
		}
		if c.Problem != nil || h.Problem != nil || r.Problem != nil {
			t.Fatal(c.Problem, h.Problem, r.Problem)
		}
		if n := 2 * want(c.Through); c.Readings != int64(n) {
			t.Fatalf("%d readings are counted up to %d, %d were committed", c.Readings, c.Through, n)
		}
		if n := want(r.Through); r.Next == "" && len(r.Readings) != n {
			t.Fatalf("%d readings are given up to %d, %d were committed", len(r.Readings), r.Through, n)
		}
	}
	close(stop)
	<-done
	last := src.finish()
	st.reach(last)
	src.compare(st)
	t.Logf("%d answers over %d readings", 3*asked, 2*src.next)
}

// A stream that ends before what is stored is not the one that was stored from.
func TestAStreamThatWasResetIsRefused(t *testing.T) {
	st := newStation(t, Config{FlushInterval: time.Millisecond})
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.v"})
	st.reach(publish(t, st.bus.JetStream(), gw, f.message([]int64{1}, one(1))))
	st.stop()
	st.bus.Close()
	if err := os.RemoveAll(st.dir + "/bus"); err != nil {
		t.Fatal(err)
	}
	st.openBus()
	s, err := New(st.cfg, st.bus.Conn(), st.bus.JetStream())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, ErrStreamReset) {
		t.Errorf("it runs on another stream: %v", err)
	}
}

// Wild times lose nothing, harm no query, and make no file each.
func TestWildTimesAreStored(t *testing.T) {
	st := newStation(t, quickSeals())
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.v"})
	now := time.Now().UnixMilli()
	times := []int64{math.MinInt64, -1, 0, now, now + 1e11, math.MaxInt64 - 1}
	var scans [][]protocol.Reading
	for i := range times {
		scans = append(scans, one(float64(i)))
	}
	for i := range int64(300) {
		times, scans = append(times, now+(i+3)*24*hourMs), append(scans, one(float64(100+i)))
	}
	last := publish(t, st.bus.JetStream(), gw, f.message(times, scans...))
	for range 2 {
		if c := st.reach(last); c.Readings != 306 {
			t.Errorf("%d readings are counted", c.Readings)
		}
		r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant", FromMs: math.MinInt64})
		if len(r.Readings) != 306 || r.Problem != nil || r.Readings[0].TimeMs != math.MinInt64 || r.Readings[305].TimeMs != math.MaxInt64-1 {
			t.Errorf("%d readings, %v", len(r.Readings), r.Problem)
		}
		for _, width := range []string{"1m", "1h"} {
			if r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant", FromMs: math.MinInt64, Rollup: width}); r.Problem != nil || len(r.Rollups) < 303 {
				t.Errorf("%s: %d roll-ups, %v", width, len(r.Rollups), r.Problem)
			}
		}
		st.stop()
		st.start()
	}
	files, err := os.ReadDir(st.dir + "/data/raw")
	if err != nil || len(files) > 15 {
		t.Errorf("%d files, %v", len(files), err)
	}
}
