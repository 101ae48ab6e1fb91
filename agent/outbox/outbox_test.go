package outbox

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"tidemark/protocol"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start opens an outbox in dir and runs it; the returned function ends it.
func start(t testing.TB, cfg Config) (*Outbox, func()) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	o, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, o)
	return o, func() {
		stop()
		if err := o.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
}

func run(t testing.TB, o *Outbox) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func event(size int) *protocol.Message {
	e := protocol.Event{Code: "test", Text: string(make([]byte, size))}
	return &protocol.Message{Type: protocol.TypeEvent, Time: time.Now().UnixMilli(), Boot: 7, Body: e.Encode()}
}

func appendN(t testing.TB, o *Outbox, n, size int) {
	t.Helper()
	var last *Ticket
	for range n {
		tk, err := o.Append(t.Context(), event(size), nil, false)
		if err != nil {
			t.Fatal(err)
		}
		last = tk
	}
	o.mu.Lock()
	o.urgent = true
	o.mu.Unlock()
	o.kick()
	if err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func readAll(t testing.TB, o *Outbox) []Stored {
	t.Helper()
	var all []Stored
	after := uint64(0)
	for {
		got, err := o.Read(after, o.Head(), 64<<10, protocol.Set{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
		after = got[len(got)-1].Seq
	}
}

func TestAppendReadAckReopen(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, SegmentBytes: 64 << 10, Budget: 8 << 20, CommitBytes: 16 << 10}
	o, end := start(t, cfg)
	appendN(t, o, 1000, 300)
	if got := readAll(t, o); len(got) != 1000 || got[0].Seq != 1 || got[999].Seq != 1000 || got[5].Type != protocol.TypeEvent {
		t.Fatalf("read %d messages", len(got))
	}
	if n := o.State().Segments; n < 4 {
		t.Fatalf("%d segments", n)
	}
	if err := o.Ack(protocol.SetOf(protocol.Range{First: 1, Last: 600})); err != nil {
		t.Fatal(err)
	}
	epoch := o.Epoch()
	end()
	o, end = start(t, cfg)
	defer end()
	if o.Epoch() != epoch || o.RunNumber() != 2 || o.Head() != 1000 {
		t.Fatalf("epoch %x run %d head %d", o.Epoch(), o.RunNumber(), o.Head())
	}
	appendN(t, o, 10, 300)
	if got := readAll(t, o); len(got) != 410 || got[0].Seq != 601 || got[409].Seq != 1010 {
		t.Fatalf("read %d messages", len(got))
	}
	for _, s := range o.Segments() {
		if s.Last <= 600 {
			t.Errorf("segment %s is acknowledged and still there", s.Name)
		}
	}
	if o.Ack(protocol.SetOf(protocol.Range{First: 1, Last: 99999})) == nil {
		t.Error("an ack for seqs that were never published was taken")
	}
}

func TestSecondAgent(t *testing.T) {
	dir := t.TempDir()
	_, end := start(t, Config{Dir: dir})
	defer end()
	_, err := Open(t.Context(), Config{Dir: dir})
	var in *InUseError
	if !errors.As(err, &in) || in.PID != os.Getpid() || in.Dir != dir {
		t.Fatalf("got %v", err)
	}
}

// TestSchema: a schema is there as long as a message that names it, over
// segments, restarts, and after damage.
func TestSchema(t *testing.T) {
	schema, err := protocol.NewSchema([]protocol.Point{{Name: "boiler.temperature", Unit: "Cel"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := small(t.TempDir())
	o, end := start(t, cfg)
	m := event(50)
	m.Type = protocol.TypeTelemetry
	tk, err := o.Append(t.Context(), m, schema, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := tk.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendN(t, o, 300, 400)
	end()
	o, end = start(t, cfg)
	defer end()
	if got := o.Schema(schema.ID()); got == nil || string(got.Encoded()) != string(schema.Encoded()) {
		t.Fatalf("after a restart: %v", got)
	}
	if o.Schema(protocol.SchemaID{1}) != nil {
		t.Error("a schema that nobody gave is known")
	}
	o.mu.Lock()
	first := o.segments[0]
	clear(o.schemas)
	o.mu.Unlock()
	o.suspect(first, errors.New("said by the test"))
	settle(t, o)
	if o.Schema(schema.ID()) == nil {
		t.Error("not there after a repair")
	}
}
