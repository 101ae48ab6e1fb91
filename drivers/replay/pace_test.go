package replay

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidemark/drivers"
)

const threeSweeps = "time,point,value\n" +
	day + "01.000Z,d.a,1\n" + day + "01.010Z,d.b,2\n" +
	day + "02.003Z,d.a,3\n" + day + "02.013Z,d.b,4\n" +
	day + "03.000Z,d.a,5\n" + day + "03.010Z,d.b,6\n"

// with opens a replay with other settings.
func with(tb testing.TB, file string, set func(*Bus)) *Sensor {
	b := bus(file, "", "a", "b")
	set(b.Config.(*Bus))
	return open(tb, b)
}

func next(t *testing.T, s *Sensor, sc *drivers.Scan) {
	t.Helper()
	spec := s.Scans()[0]
	sc.Reset(&spec)
	if err := s.Read(t.Context(), 0, sc); err != nil {
		t.Fatal(err)
	}
}

func TestRecordedSpeedAndLiveTimes(t *testing.T) {
	file := write(t, threeSweeps)
	synctest.Test(t, func(t *testing.T) {
		s := with(t, file, func(b *Bus) {})
		if s.Scans()[0].Recorded {
			t.Error("at speed 1 times are live unless the profile says otherwise")
		}
		var sc drivers.Scan
		start := time.Now()
		for i, ms := range []int{0, 1003, 2000} {
			next(t, s, &sc)
			if d := sc.Times[0].Sub(start) - time.Duration(ms)*time.Millisecond; d < 0 || d > 5*time.Millisecond {
				t.Errorf("sweep %d at %v", i, sc.Times[0].Sub(start))
			}
			if d := sc.Times[1].Sub(sc.Times[0]); d != 10*time.Millisecond {
				t.Errorf("sweep %d: the distance between two rows is %v", i, d)
			}
			if late := time.Since(sc.Times[1]); late < 0 || late > 5*time.Millisecond {
				t.Errorf("sweep %d came %v after its last row", i, late)
			}
		}
		if err := s.Read(t.Context(), 0, &sc); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
	})
}

func TestFactor(t *testing.T) {
	file := write(t, threeSweeps)
	synctest.Test(t, func(t *testing.T) {
		s := with(t, file, func(b *Bus) { b.Speed = "10" })
		var sc drivers.Scan
		start := time.Now()
		for _, want := range []string{"a@1000=1 b@1010=2", "a@2003=3 b@2013=4", "a@3000=5 b@3010=6"} {
			next(t, s, &sc)
			if got := show(&s.spec, &sc); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if d := time.Since(start); d != 201*time.Millisecond {
			t.Errorf("2.01 s at tenfold speed took %v", d)
		}
	})
}

func TestLoopGoesOnInTime(t *testing.T) {
	s := with(t, write(t, threeSweeps), func(b *Bus) { b.Speed, b.Loop = "max", true })
	got := strings.Join(drain(t, s, 5), " | ")
	want := "a@1000=1 b@1010=2 | a@2003=3 b@2013=4 | a@3000=5 b@3010=6 | a@3997=1 b@4007=2 | a@5000=3 b@5010=4"
	if got != want || s.Stats().Loops != 1 {
		t.Errorf("got %s; %+v", got, s.Stats())
	}
}

// The file is replaced between two passes, and gone in between.
func TestLoopTakesANewFile(t *testing.T) {
	file := write(t, day+"01.000Z,d.a,1\n")
	synctest.Test(t, func(t *testing.T) {
		s := with(t, file, func(b *Bus) { b.Speed, b.Loop = "max", true })
		if err := os.Rename(file, file+".old"); err != nil {
			t.Fatal(err)
		}
		if got := drain(t, s, 1); got[0] != "error not_found" {
			t.Errorf("without the file: %v", got)
		}
		if err := os.WriteFile(file, []byte(day+"05.000Z,d.b,2\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if got := drain(t, s, 1); got[0] != "b@5000=2" || time.Since(start) != retryAfter {
			t.Errorf("with a file: %v after %v", got, time.Since(start))
		}
	})
}

// A caller that was away for an hour does not get an hour at once.
func TestGoesOnFromThePresentAfterALag(t *testing.T) {
	for _, at := range []string{AtNow, AtRecorded} {
		file := write(t, threeSweeps)
		synctest.Test(t, func(t *testing.T) {
			s := with(t, file, func(b *Bus) { b.At = at })
			var sc drivers.Scan
			next(t, s, &sc)
			time.Sleep(time.Hour)
			before := time.Now()
			next(t, s, &sc)
			if at == AtNow && sc.Times[0].Before(before) {
				t.Errorf("a live time from before the poll: %v", before.Sub(sc.Times[0]))
			}
			between := time.Now()
			next(t, s, &sc)
			if d := time.Since(between); d < 900*time.Millisecond || d > time.Second {
				t.Errorf("%s: the sweep after the lag came after %v", at, d)
			}
		})
	}
}

func TestACancelledReadLosesNothing(t *testing.T) {
	file := write(t, threeSweeps)
	synctest.Test(t, func(t *testing.T) {
		s := with(t, file, func(b *Bus) { b.At = AtRecorded })
		spec := s.Scans()[0]
		var sc drivers.Scan
		next(t, s, &sc)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			sc.Reset(&spec)
			if err := s.Read(ctx, 0, &sc); !errors.Is(err, context.DeadlineExceeded) || show(&spec, &sc) != "" {
				t.Errorf("got %v, %s", err, show(&spec, &sc))
			}
			cancel()
		}
		next(t, s, &sc)
		if got := show(&spec, &sc); got != "a@2003=3 b@2013=4" {
			t.Errorf("after a cancelled poll: %s", got)
		}
	})
}

func TestCloseEndsARead(t *testing.T) {
	file := write(t, threeSweeps)
	synctest.Test(t, func(t *testing.T) {
		s := with(t, file, func(b *Bus) {})
		var sc drivers.Scan
		next(t, s, &sc)
		done := make(chan error)
		go func() { done <- s.Read(t.Context(), 0, &sc) }()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("the read in progress: %v", err)
		}
		if err := s.Read(t.Context(), 0, &sc); !errors.Is(err, ErrClosed) {
			t.Errorf("a read after Close: %v", err)
		}
	})
}
