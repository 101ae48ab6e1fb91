package receiver_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/broker"
	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/cloud/receiver"
	"tidemark/protocol"
)

var (
	quiet = slog.New(slog.DiscardHandler)
	plant = protocol.Gateway{Site: "plant", Name: "gw-9"}
)

// ears are the sender of a receiver that keeps what it says.
type ears struct{ acks [][]byte }

func (e *ears) Send(_ context.Context, _ string, payload []byte) error {
	e.acks = append(e.acks, payload)
	return nil
}

func (e *ears) last(t *testing.T) (a protocol.Ack) {
	t.Helper()
	if len(e.acks) == 0 {
		t.Fatal("no ack")
	}
	if err := protocol.Unmarshal(e.acks[len(e.acks)-1], &a); err != nil {
		t.Fatalf("the ack does not decode: %v", err)
	}
	return a
}

func newReceiver(t *testing.T, b *bus.Bus) (*receiver.Receiver, *ears) {
	t.Helper()
	e := &ears{}
	r, err := receiver.New(t.Context(), receiver.Config{Log: quiet}, b.JetStream(), e)
	if err != nil {
		t.Fatal(err)
	}
	return r, e
}

func newBus(t *testing.T) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), MaxAge: time.Hour, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// A gateway hears which bundle was refused, by a name that it can make itself:
// also from a receiver that has never heard of it before.
func TestRefusedBundleIsNamed(t *testing.T) {
	b := newBus(t)
	r, e := newReceiver(t, b)
	garbage := []byte{0xa1, 0x00}
	if err := r.Bundle(t.Context(), plant, broker.Publish{Payload: garbage}); !errors.Is(err, broker.ErrRefused) || len(e.acks) != 0 {
		t.Fatalf("before any birth: %v, %d acks", err, len(e.acks))
	}
	r.Presence(t.Context(), plant, (&protocol.Presence{Online: true, Session: 1, Epoch: 77}).Encode())
	for range 2 {
		if err := r.Bundle(t.Context(), plant, broker.Publish{Payload: garbage}); !errors.Is(err, broker.ErrRefused) {
			t.Fatal(err)
		}
		a := e.last(t)
		if a.Epoch != 77 || len(a.Refused) != 1 || string(a.Refused[0].Bundle) != string(protocol.BundleID(garbage)) || a.Refused[0].Reason != protocol.ReasonMalformed {
			t.Fatalf("got %+v", a)
		}
		r, e = newReceiver(t, b) // it starts anew
	}
}

// An ack stays small whatever a bundle holds: one that the gateway could not
// take would have the bundle sent again for ever.
func TestAckOfManyRejectionsIsBounded(t *testing.T) {
	r, e := newReceiver(t, newBus(t))
	var msgs []*protocol.Message
	for seq := uint64(1); seq <= 1000; seq++ {
		m := &protocol.Message{Type: protocol.TypeEvent, Epoch: 5, Seq: seq, Time: 1, Boot: 1, Body: []byte{0xf6}}
		switch seq % 4 {
		case 0: // not an event's body
			m.Body = []byte{0x01}
		case 1: // of a schema that nobody has
			m.Type, m.Body = protocol.TypeTelemetry, []byte{0xa4, 0, 0x48, 1, 2, 3, 4, 5, 6, byte(seq >> 8), byte(seq), 1, 1, 2, 0x41, 0, 3, 0x40}
		case 2:
			m.Type = protocol.TypeDropped
			m.Body = (&protocol.Dropped{Ranges: protocol.SetOf(protocol.Range{First: seq, Last: seq}), Count: 1, Cause: "x"}).Encode()
		default:
			ev := protocol.Event{Code: "fine", Text: "fine"}
			m.Body = ev.Encode()
		}
		msgs = append(msgs, m)
	}
	payload, err := protocol.EncodeBundle(msgs)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Bundle(t.Context(), plant, broker.Publish{Payload: payload}); err != nil {
		t.Fatal(err)
	}
	a := e.last(t)
	if len(a.Rejected) == 0 || len(a.Rejected) > 64 || len(a.Need) > 256 || len(e.acks[0]) > 48<<10 {
		t.Fatalf("%d rejections, %d schemas, %d bytes", len(a.Rejected), len(a.Need), len(e.acks[0]))
	}
	if a.Rejected[len(a.Rejected)-1].Last < 990 {
		t.Errorf("the last rejection ends at %d", a.Rejected[len(a.Rejected)-1].Last)
	}
	t.Logf("%d rejections, %d schemas, %d bytes, %d seqs", len(a.Rejected), len(a.Need), len(e.acks[0]), a.Committed.Count())
}

// Each start of an agent makes new schemas: the bucket forgets those that are
// not used any more, and only those.
func TestSchemasInUseAreWrittenAgain(t *testing.T) {
	b := newBus(t)
	r, e := newReceiver(t, b)
	kv, err := b.JetStream().KeyValue(t.Context(), contract.BucketSchemas)
	if err != nil {
		t.Fatal(err)
	}
	status, err := kv.Status(t.Context())
	if err != nil || status.TTL() < 3*time.Hour {
		t.Fatalf("schemas go after %v (%v), while the stream keeps entries for an hour", status.TTL(), err)
	}
	s, err := protocol.NewSchema([]protocol.Point{{Name: "d.x", Kind: protocol.Int}}, []int{1})
	if err != nil {
		t.Fatal(err)
	}
	send := func(seq uint64, with ...*protocol.Message) {
		t.Helper()
		build := protocol.NewBuilder(s)
		if err := build.Add([]int64{1000}, []protocol.Reading{{Value: protocol.IntValue(1)}}); err != nil {
			t.Fatal(err)
		}
		body, err := build.Body(1000)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := protocol.EncodeBundle(append(with, &protocol.Message{Type: protocol.TypeTelemetry, Epoch: 9, Seq: seq, Time: 1000, Boot: 1, Body: body}))
		if err == nil {
			err = r.Bundle(t.Context(), plant, broker.Publish{Payload: payload})
		}
		if err != nil {
			t.Fatal(err)
		}
		if a := e.last(t); len(a.Need) != 0 || !a.Committed.Contains(seq) {
			t.Fatalf("got %+v", a)
		}
	}
	send(1, s.Message())
	first := revision(t, kv, s)
	send(2)
	if got := revision(t, kv, s); got != first {
		t.Errorf("a young schema was written again, as revision %d", got)
	}
	receiver.SetSchemaRefresh(r, time.Nanosecond)
	send(3)
	if got := revision(t, kv, s); got <= first {
		t.Errorf("an old schema that is in use was not written again: revision %d", got)
	}
}

func revision(t *testing.T, kv jetstream.KeyValue, s *protocol.Schema) uint64 {
	t.Helper()
	entry, err := kv.Get(t.Context(), s.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	return entry.Revision()
}
