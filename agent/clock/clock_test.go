package clock

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const year = 365 * 24 * time.Hour

func TestWhatIsTold(t *testing.T) {
	const unknown, set, synced = protocol.ClockUnknown, protocol.ClockSet, protocol.ClockSynced
	type look struct {
		quality protocol.ClockQuality
		moved   time.Duration // of the wall clock since the look before
		step    time.Duration
		tell    bool
	}
	for name, looks := range map[string][]look{
		"boots in 1970, is set, is synced": {{unknown, 0, 0, false}, {unknown, 0, 0, false}, {set, 56 * year, 56 * year, true}, {set, 0, 0, false},
			{synced, 20 * time.Millisecond, 0, true}, {synced, 0, 0, false}},
		"a year ahead and back":            {{set, 0, 0, true}, {set, year, year, true}, {set, 0, 0, false}, {set, -year, -year, true}, {set, 0, 0, false}},
		"slewed by NTP":                    {{synced, 0, 0, true}, {synced, 100 * time.Millisecond, 0, false}, {synced, -100 * time.Millisecond, 0, false}},
		"a second back":                    {{synced, 0, 0, true}, {synced, -time.Second, -time.Second, true}},
		"stepped into 1970, and out of it": {{synced, 0, 0, true}, {unknown, -56 * year, -56 * year, false}, {synced, 56 * year, 56 * year, true}},
		"loses its time service":           {{synced, 0, 0, true}, {set, 0, 0, false}, {synced, 0, 0, false}},
	} {
		w := watch{offset: 1234 * time.Hour}
		offset := w.offset
		for i, l := range looks {
			offset += l.moved
			if step, tell := w.look(l.quality, offset); step != l.step || tell != l.tell {
				t.Errorf("%s, look %d: step %v, told %t; want %v, %t", name, i, step, tell, l.step, l.tell)
			}
		}
	}
}

type queue chan *protocol.Message

func (q queue) Append(_ context.Context, m *protocol.Message, _ *protocol.Schema, urgent bool) error {
	if !urgent {
		return io.ErrNoProgress
	}
	q <- m
	return nil
}

func TestRunTellsThisMachinesClock(t *testing.T) {
	c := New(slog.New(slog.DiscardHandler))
	q := make(queue, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, q) }()
	m := <-q
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	var body protocol.Clock
	if err := protocol.Unmarshal(m.Body, &body); err != nil {
		t.Fatal(err)
	}
	if m.Type != protocol.TypeClock || body.Boot != c.Boot() || body.StepMs != 0 || body.Quality != c.Quality() {
		t.Errorf("told %+v in a message of type %s", body, m.Type)
	}
	if off := time.Since(time.UnixMilli(body.UTC)); off < 0 || off > time.Minute {
		t.Errorf("the time told is off by %v", off)
	}
}

func TestBootAndMonotonicTime(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	a, b := New(log), New(log)
	if a.Boot() == 0 || a.Boot() != b.Boot() || a.BootID() == "" || a.BootID() != b.BootID() {
		t.Errorf("one boot has the names %d %q and %d %q", a.Boot(), a.BootID(), b.Boot(), b.BootID())
	}
	var m, n protocol.Message
	a.Stamp(&m)
	for n.Mono <= m.Mono {
		b.Stamp(&n)
	}
	if m.Boot != a.Boot() || n.Time < m.Time {
		t.Errorf("stamps %+v and %+v", m, n)
	}
}
