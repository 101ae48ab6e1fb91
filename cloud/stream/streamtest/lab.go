package streamtest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// patience is how long an answer or a condition is waited for.
const patience = 20 * time.Second

// Lab is a real bus with a gateway's view of it: it commits bundles as the
// receiver does, each with the tidemark that it moves.
type Lab struct {
	Bus *bus.Bus
	// SentMs is what the gateway's clock said at sending; 0: the right time.
	SentMs int64

	t     testing.TB
	marks map[protocol.Gateway]protocol.Tidemarks
}

// New opens a bus in a new folder. It is closed when the test ends.
func New(t testing.TB) *Lab {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &Lab{Bus: b, t: t, marks: map[protocol.Gateway]protocol.Tidemarks{}}
}

// PutSchema puts a schema where the receiver puts it.
func (l *Lab) PutSchema(s *protocol.Schema) {
	l.t.Helper()
	PutSchema(l.t, l.Bus.JetStream(), s)
}

// PutSchema puts a schema where the receiver puts it.
func PutSchema(t testing.TB, js jetstream.JetStream, s *protocol.Schema) {
	t.Helper()
	kv, err := js.KeyValue(t.Context(), contract.BucketSchemas)
	if err == nil {
		id := s.ID()
		_, err = kv.Put(t.Context(), hex.EncodeToString(id[:]), s.Encoded())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Commit publishes messages of one epoch as a bundle, moves the gateway's
// tidemark over them, and returns the bundle's sequence.
func (l *Lab) Commit(g protocol.Gateway, msgs ...*protocol.Message) uint64 {
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
	head := nats.Header{}
	head.Set(contract.HeaderTidemark, l.marks[g].String())
	if l.SentMs != 0 {
		head.Set(contract.HeaderSent, strconv.FormatInt(l.SentMs, 10))
	}
	return Publish(l.t, l.Bus.JetStream(), g, head, msgs...)
}

// Publish publishes messages as a bundle and returns its sequence. The times of
// sending and receiving are now where head does not say them.
func Publish(t testing.TB, js jetstream.JetStream, g protocol.Gateway, head nats.Header, msgs ...*protocol.Message) uint64 {
	t.Helper()
	payload, err := protocol.EncodeBundle(msgs)
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(g.UpSubject())
	m.Data = payload
	m.Header.Set(contract.HeaderSent, strconv.FormatInt(time.Now().UnixMilli(), 10))
	m.Header.Set(contract.HeaderReceived, strconv.FormatInt(time.Now().UnixMicro(), 10))
	for key := range head {
		m.Header.Set(key, head.Get(key))
	}
	ack, err := js.PublishMsg(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

// Reject publishes a dead letter, and puts its seq into the tidemark.
func (l *Lab) Reject(g protocol.Gateway, epoch, seq uint64, reason, text string) {
	l.t.Helper()
	l.marks[g] = l.marks[g].With(epoch, protocol.SetOf(protocol.Range{First: seq, Last: seq}))
	m := nats.NewMsg(contract.DeadSubject(g))
	m.Data = []byte("x")
	m.Header.Set(contract.HeaderReason, reason)
	m.Header.Set(contract.HeaderText, text)
	m.Header.Set(contract.HeaderEpoch, protocol.EpochString(epoch))
	m.Header.Set(contract.HeaderSeqs, strconv.FormatUint(seq, 10))
	m.Header.Set(contract.HeaderType, "telemetry")
	if _, err := l.Bus.JetStream().PublishMsg(l.t.Context(), m); err != nil {
		l.t.Fatal(err)
	}
}

// Service is a service behind the stream.
type Service interface {
	Run(ctx context.Context) error
}

// Run runs a service until the test ends or stop is called; an error of it is
// an error of the test.
func Run(t testing.TB, s Service) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// Ask puts a question to a service, which may be starting, and decodes the
// answer.
func Ask[R any](t testing.TB, conn *nats.Conn, subject string, q any) (answer R) {
	t.Helper()
	data, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := conn.Request(subject, data, patience)
	for end := time.Now().Add(patience); errors.Is(err, nats.ErrNoResponders) && time.Now().Before(end); {
		msg, err = conn.Request(subject, data, patience)
	}
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		t.Fatalf("%s: %v in %s", subject, err, msg.Data)
	}
	return answer
}

// Eventually waits for a condition.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
