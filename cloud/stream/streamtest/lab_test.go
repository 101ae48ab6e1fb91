package streamtest

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"

	"tidemark/cloud/stream"
	"tidemark/protocol"
)

// reader is a service that keeps what it reads.
type reader struct {
	lab  *Lab
	seen chan *stream.Entry
	err  error // of Run
}

func (r *reader) Run(ctx context.Context) error {
	err := stream.NewReader(r.lab.Bus.JetStream(), slog.New(slog.DiscardHandler)).Run(ctx, 0, r.seen)
	return errors.Join(err, r.err)
}

// TestLab reads what a lab commits as every service does: the tidemark has all
// seqs, those that were dropped and those of dead letters too, and the telemetry
// decodes with the schema that was put.
func TestLab(t *testing.T) {
	l := New(t)
	s := WideSchema(t)
	l.PutSchema(s)
	g := protocol.Gateway{Site: "harbour", Name: "gw-1"}
	dropped := &protocol.Dropped{Ranges: protocol.SetOf(protocol.Range{First: 4, Last: 6})}
	l.Reject(g, 0xa, 1, "mismatch", "A test.")
	l.Commit(g, WideMessage(t, s, 0xa, 2, 1000), &protocol.Message{Type: protocol.TypeDropped, Epoch: 0xa, Seq: 3, Time: 2000, Boot: 1, Body: dropped.Encode()})
	l.SentMs = 5000
	last := l.Commit(g, WideMessage(t, s, 0xb, 1, 3000))

	r := &reader{lab: l, seen: make(chan *stream.Entry)}
	stop := Run(t, r)
	first, second := <-r.seen, <-r.seen
	stop()
	if want := l.marks[g].String(); second.Sequence != last || second.Tidemarks != want || second.SentMs != 5000 || second.ReceivedUs == 0 {
		t.Errorf("read %+v, want tidemark %s", second, want)
	}
	if want := "000000000000000a:1-6"; first.Gateway != g || first.Tidemarks != want || first.SentMs == 0 || len(first.Messages) != 2 {
		t.Fatalf("read %+v, want tidemark %s", first, want)
	}
	lookup := stream.NewReader(l.Bus.JetStream(), slog.New(slog.DiscardHandler)).Lookup(t.Context())
	tel, err := first.Messages[0].Telemetry(lookup)
	if err != nil || len(tel.Columns) != WidePoints {
		t.Errorf("%+v, %v", tel, err)
	}
}

// verdict is a test that is told of errors and goes on.
type verdict struct {
	testing.TB
	failed bool
}

func (v *verdict) Errorf(string, ...any) { v.failed = true }

// TestRunTellsErrors has a service end with an error: its test fails.
func TestRunTellsErrors(t *testing.T) {
	v := &verdict{TB: t}
	r := &reader{lab: New(t), seen: make(chan *stream.Entry), err: errors.New("a test")}
	if stop := Run(v, r); v.failed {
		t.Error("it failed before it ended")
	} else if stop(); !v.failed {
		t.Error("an error of the service is lost")
	}
}

// TestAsk asks a service that may only be starting.
func TestAsk(t *testing.T) {
	l := New(t)
	started := make(chan error)
	go func() {
		_, err := l.Bus.Conn().Subscribe("twice", func(m *nats.Msg) {
			if string(m.Data) != "21" {
				t.Errorf("asked %s", m.Data)
			}
			if err := m.Respond([]byte("42")); err != nil {
				t.Error(err)
			}
		})
		started <- err
	}()
	if got := Ask[int](t, l.Bus.Conn(), "twice", 21); got != 42 {
		t.Errorf("answered %d", got)
	}
	if err := <-started; err != nil {
		t.Error(err)
	}
}

// TestPositionOnDisk asks for a file that no service has made, and makes none.
func TestPositionOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	if p := PositionOnDisk(path); p != 0 {
		t.Errorf("position %d in no file", p)
	}
	if left, err := filepath.Glob(path + "*"); err != nil || len(left) > 0 {
		t.Errorf("%q was made, %v", left, err)
	}
}
