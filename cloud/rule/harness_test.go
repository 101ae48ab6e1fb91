package rule

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
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
	// sentMs is what the gateway's clock said at sending; 0: the right time.
	sentMs int64
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
	}
	l.marks[g] = l.marks[g].With(epoch, seqs)
	payload, err := protocol.EncodeBundle(msgs)
	if err != nil {
		l.t.Fatal(err)
	}
	m := &nats.Msg{Subject: g.UpSubject(), Data: payload, Header: nats.Header{}}
	m.Header.Set(contract.HeaderTidemark, l.marks[g].String())
	sent := l.sentMs
	if sent == 0 {
		sent = time.Now().UnixMilli()
	}
	m.Header.Set(contract.HeaderSent, strconv.FormatInt(sent, 10))
	m.Header.Set(contract.HeaderReceived, strconv.FormatInt(time.Now().UnixMicro(), 10))
	ack, err := l.bus.JetStream().PublishMsg(l.t.Context(), m)
	if err != nil {
		l.t.Fatal(err)
	}
	return ack.Sequence
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

var (
	plantA = protocol.Gateway{Site: "harbour", Name: "gw-1"}
	plantB = protocol.Gateway{Site: "mill", Name: "gw-1"}
)

const epochA = 0xc0ffee00c0ffee01

// row is one scan: a time and a value for each point; nil is a bad reading, and
// notRead none at all.
type row struct {
	time   int64
	values []any
}

type notRead struct{}

// message makes a telemetry message of rows; a point's kind is that of its
// first value.
func (l *lab) message(seq uint64, names []string, rows ...row) *protocol.Message {
	l.t.Helper()
	points := make([]protocol.Point, len(names))
	for i, n := range names {
		points[i].Name = n
		for _, r := range rows {
			if v, ok := asValue(r.values[i]); ok {
				points[i].Kind = v.Kind()
				break
			}
		}
	}
	s, err := protocol.NewSchema(points, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.putSchema(s)
	b := protocol.NewBuilder(s)
	for _, r := range rows {
		reads := make([]protocol.Reading, len(names))
		for i := range names {
			v, ok := asValue(r.values[i])
			reads[i] = protocol.Reading{Value: v}
			if r.values[i] == (notRead{}) {
				reads[i] = protocol.Reading{Quality: protocol.NotRead}
			} else if !ok {
				reads[i] = protocol.Reading{Quality: protocol.Bad, Reason: "timeout"}
			}
		}
		if err := b.Add([]int64{r.time}, reads); err != nil {
			l.t.Fatal(err)
		}
	}
	at := rows[len(rows)-1].time
	body, err := b.Body(at)
	if err != nil {
		l.t.Fatal(err)
	}
	return &protocol.Message{Type: protocol.TypeTelemetry, Epoch: epochA, Seq: seq, Time: at, Boot: 1, Mono: seq, Clock: protocol.ClockSynced, Body: body}
}

func asValue(v any) (protocol.Value, bool) {
	switch v := v.(type) {
	case float64:
		return protocol.FloatValue(v), true
	case int:
		return protocol.IntValue(int64(v)), true
	case bool:
		return protocol.BoolValue(v), true
	case string:
		return protocol.TextValue(v), true
	}
	return protocol.Value{}, false
}

// passed waits until rules have passed a sequence of the stream.
func (l *lab) passed(s *Service, sequence uint64) {
	l.t.Helper()
	eventually(l.t, "rules pass "+strconv.FormatUint(sequence, 10), func() bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.written >= sequence
	})
}

// said returns the alerts in the platform stream, oldest first.
func (l *lab) said() (out []contract.Alert) {
	l.t.Helper()
	st, err := l.bus.JetStream().Stream(l.t.Context(), contract.StreamPlatform)
	if err != nil {
		l.t.Fatal(err)
	}
	info, err := st.Info(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for i := uint64(1); i <= info.State.LastSeq; i++ {
		m, err := st.GetMsg(l.t.Context(), i)
		if err != nil {
			l.t.Fatal(err)
		}
		var a contract.Alert
		if err := json.Unmarshal(m.Data, &a); err != nil {
			l.t.Fatal(err)
		}
		if m.Subject != contract.AlertSubject(a.Site) {
			l.t.Errorf("alert of site %s on subject %s", a.Site, m.Subject)
		}
		out = append(out, a)
	}
	return out
}

// rules writes a file of rules into a new folder.
func rulesIn(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
