package trace

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// lab is a real bus with a gateway's view of it: it commits bundles as the
// receiver does.
type lab struct {
	t     testing.TB
	bus   *bus.Bus
	marks map[protocol.Gateway]protocol.Tidemarks
}

func newLab(t testing.TB) *lab {
	t.Helper()
	return labIn(t, t.TempDir())
}

func labIn(t testing.TB, dir string) *lab {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{Dir: dir, Log: slog.New(slog.DiscardHandler), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &lab{t: t, bus: b, marks: map[protocol.Gateway]protocol.Tidemarks{}}
}

// start runs a service until the test ends or stop is called.
func (l *lab) start(cfg Config) (s *Service, stop func()) {
	l.t.Helper()
	s, err := New(cfg, l.bus.Conn(), l.bus.JetStream())
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("Run: %v", err)
		}
	}
	l.t.Cleanup(stop)
	return s, stop
}

func (l *lab) putSchema(s *protocol.Schema) {
	l.t.Helper()
	kv, err := l.bus.JetStream().KeyValue(l.t.Context(), contract.BucketSchemas)
	if err != nil {
		l.t.Fatal(err)
	}
	id := s.ID()
	if _, err := kv.Put(l.t.Context(), hex.EncodeToString(id[:]), s.Encoded()); err != nil {
		l.t.Fatal(err)
	}
}

// commit publishes messages of one epoch as a bundle and returns its sequence.
func (l *lab) commit(g protocol.Gateway, msgs ...*protocol.Message) uint64 {
	l.t.Helper()
	var seqs protocol.Set
	var epoch uint64
	for _, m := range msgs {
		if m.Type != protocol.TypeSchema {
			epoch = m.Epoch
			seqs.AddSet(m.Seqs())
		}
		if m.Type == protocol.TypeDropped { // the tidemark covers what it names, too
			var d protocol.Dropped
			if err := protocol.Unmarshal(m.Body, &d); err != nil {
				l.t.Fatal(err)
			}
			seqs.AddSet(d.Ranges)
		}
	}
	l.marks[g] = l.marks[g].With(epoch, seqs)
	payload, err := protocol.EncodeBundle(msgs)
	if err != nil {
		l.t.Fatal(err)
	}
	m := &nats.Msg{Subject: g.UpSubject(), Data: payload, Header: nats.Header{}}
	m.Header.Set(contract.HeaderTidemark, l.marks[g].String())
	m.Header.Set(contract.HeaderSent, strconv.FormatInt(time.Now().UnixMilli(), 10))
	m.Header.Set(contract.HeaderReceived, strconv.FormatInt(time.Now().UnixMicro(), 10))
	ack, err := l.bus.JetStream().PublishMsg(l.t.Context(), m)
	if err != nil {
		l.t.Fatal(err)
	}
	return ack.Sequence
}

// reject publishes a dead letter, and puts its seqs into the tidemark.
func (l *lab) reject(g protocol.Gateway, epoch, seq uint64, reason, text string) {
	l.t.Helper()
	l.marks[g] = l.marks[g].With(epoch, protocol.SetOf(protocol.Range{First: seq, Last: seq}))
	m := &nats.Msg{Subject: contract.DeadSubject(g), Data: []byte("x"), Header: nats.Header{}}
	m.Header.Set(contract.HeaderReason, reason)
	m.Header.Set(contract.HeaderText, text)
	m.Header.Set(contract.HeaderEpoch, protocol.EpochString(epoch))
	m.Header.Set(contract.HeaderSeqs, strconv.FormatUint(seq, 10))
	m.Header.Set(contract.HeaderType, "telemetry")
	if _, err := l.bus.JetStream().PublishMsg(l.t.Context(), m); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) mark(st protocol.Stage, through uint64, timeUs int64) {
	l.t.Helper()
	b, _ := json.Marshal(contract.HopMark{Stage: st, Through: through, TimeUs: timeUs})
	if err := l.bus.Conn().Publish(contract.SubjectHop+string(st), b); err != nil {
		l.t.Fatal(err)
	}
}

// ask sends a request and decodes its answer.
func ask[R any](l *lab, subject string, q any) R {
	l.t.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		l.t.Fatal(err)
	}
	var r R
	msg, err := l.bus.Conn().Request(subject, b, 10*time.Second)
	for end := time.Now().Add(10 * time.Second); errors.Is(err, nats.ErrNoResponders) && time.Now().Before(end); { // it is starting
		msg, err = l.bus.Conn().Request(subject, b, 10*time.Second)
	}
	if err != nil {
		l.t.Fatalf("%s: %v", subject, err)
	}
	if err := json.Unmarshal(msg.Data, &r); err != nil {
		l.t.Fatalf("%s: %v in %s", subject, err, msg.Data)
	}
	return r
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// written waits until the ledger has written the stream up to a sequence.
func (l *lab) written(s *Service, device uint64) {
	l.t.Helper()
	eventually(l.t, "the ledger writes up to "+strconv.FormatUint(device, 10), func() bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.pos.Device >= device
	})
}

var (
	plantA = protocol.Gateway{Site: "harbour", Name: "gw-1"}
	plantB = protocol.Gateway{Site: "mill", Name: "gw-1"}
)

const epochA = 0xc0ffee00c0ffee01

// schemaAB has two points.
func schemaAB(t testing.TB) *protocol.Schema {
	t.Helper()
	s, err := protocol.NewSchema([]protocol.Point{{Name: "boiler.temp_c", Unit: "Cel"}, {Name: "boiler.state", Kind: protocol.Int}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// telemetry is a message of one scan at its time.
// readBefore is how long before its message a reading was taken, in milliseconds.
const readBefore = 700

func telemetry(t testing.TB, s *protocol.Schema, epoch, seq uint64, timeMs int64) *protocol.Message {
	t.Helper()
	b := protocol.NewBuilder(s)
	if err := b.Add([]int64{timeMs - readBefore}, []protocol.Reading{{Value: protocol.FloatValue(20.5)}, {Value: protocol.IntValue(int64(seq % 4))}}); err != nil {
		t.Fatal(err)
	}
	body, err := b.Body(timeMs)
	if err != nil {
		t.Fatal(err)
	}
	return &protocol.Message{Type: protocol.TypeTelemetry, Epoch: epoch, Seq: seq, Time: timeMs, Boot: 1, Mono: seq, Clock: protocol.ClockSynced, Body: body}
}

func other(kind protocol.Type, epoch, seq uint64, timeMs int64, body []byte) *protocol.Message {
	return &protocol.Message{Type: kind, Epoch: epoch, Seq: seq, Time: timeMs, Boot: 1, Mono: seq, Clock: protocol.ClockSynced, Body: body}
}
