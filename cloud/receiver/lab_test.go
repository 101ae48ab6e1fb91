package receiver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/broker"
	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/protocol"
)

var gw = protocol.Gateway{Site: "plant", Name: "gw-1"}

// lab is a receiver on a real bus behind the real embedded broker.
type lab struct {
	t    *testing.T
	bus  *bus.Bus
	r    *Receiver
	addr string // of the broker
	stop func()
}

func openBus(t testing.TB, cfg bus.Config) *bus.Bus {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	b, err := bus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, bus: openBus(t, bus.Config{Dir: t.TempDir()})}
	l.start()
	return l
}

// start runs a receiver and its broker until stop, or the end of the test.
func (l *lab) start() {
	l.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	edge := broker.NewEmbedded(listener, 0, log)
	if l.r, err = New(l.t.Context(), Config{Log: log}, l.bus.JetStream(), edge); err != nil {
		l.t.Fatal(err)
	}
	l.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = edge.Run(ctx, l.r) })
	parts.Go(func() { _ = l.r.Run(ctx) })
	l.stop = sync.OnceFunc(func() { cancel(); parts.Wait() })
	l.t.Cleanup(l.stop)
}

// gateway is a plain MQTT client with a gateway's id.
type client struct {
	*paho.Client
	t    *testing.T
	acks chan protocol.Ack
}

func (l *lab) dial(g protocol.Gateway) *client {
	l.t.Helper()
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	c := &client{t: l.t, acks: make(chan protocol.Ack, 1000)}
	c.Client = paho.NewClient(paho.ClientConfig{Conn: conn, PacketTimeout: 20 * time.Second, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			var a protocol.Ack
			if err := protocol.Unmarshal(p.Packet.Payload, &a); err != nil {
				l.t.Errorf("an ack does not decode: %v", err)
			}
			c.acks <- a
			return true, nil
		}}})
	if _, err := c.Connect(l.t.Context(), &paho.Connect{ClientID: g.String(), CleanStart: true, KeepAlive: 60}); err != nil {
		l.t.Fatal(err)
	}
	if _, err := c.Subscribe(l.t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: g.AckTopic(), QoS: 1}}}); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	return c
}

// publish sends a payload and returns the reason code of its PUBACK.
func (c *client) publish(topic string, payload []byte) byte {
	c.t.Helper()
	r, err := c.Publish(c.t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: payload})
	if r == nil {
		c.t.Fatalf("no PUBACK: %v", err)
	}
	return r.ReasonCode
}

// send publishes messages and returns the ack.
func (c *client) send(msgs ...*protocol.Message) protocol.Ack {
	c.t.Helper()
	if code := c.publish(gw.UpTopic(), encode(c.t, msgs...)); code != 0 {
		c.t.Fatalf("PUBACK with reason code %#x", code)
	}
	return c.ack()
}

func (c *client) ack() protocol.Ack {
	c.t.Helper()
	select {
	case a := <-c.acks:
		return a
	case <-time.After(20 * time.Second):
		c.t.Fatal("no ack")
	}
	return protocol.Ack{}
}

func encode(t testing.TB, msgs ...*protocol.Message) []byte {
	t.Helper()
	payload, err := protocol.EncodeBundle(msgs)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func schema(t testing.TB, names ...string) *protocol.Schema {
	t.Helper()
	var points []protocol.Point
	for _, n := range names {
		points = append(points, protocol.Point{Name: n, Kind: protocol.Int})
	}
	s, err := protocol.NewSchema(points, []int{len(points)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// telemetry is a message whose one reading a point is its seq.
func telemetry(t testing.TB, s *protocol.Schema, epoch, seq uint64) *protocol.Message {
	t.Helper()
	b := protocol.NewBuilder(s)
	readings := make([]protocol.Reading, len(s.Points))
	for i := range readings {
		readings[i].Value = protocol.IntValue(int64(seq))
	}
	at := int64(1_700_000_000_000 + 1000*seq)
	if err := b.Add([]int64{at}, readings); err != nil {
		t.Fatal(err)
	}
	body, err := b.Body(at)
	if err != nil {
		t.Fatal(err)
	}
	return &protocol.Message{Type: protocol.TypeTelemetry, Epoch: epoch, Seq: seq, Time: at, Boot: 1, Mono: seq, Clock: protocol.ClockSynced, Body: body}
}

func event(epoch, seq uint64) *protocol.Message {
	e := protocol.Event{Code: "test", Text: "a test"}
	return &protocol.Message{Type: protocol.TypeEvent, Epoch: epoch, Seq: seq, Time: 1, Boot: 1, Body: e.Encode()}
}

// ledger is what the stream holds.
type ledger struct {
	seqs     map[uint64]map[uint64]int // by epoch: how often
	readings map[int64]int             // by value, as telemetry makes it
	last     string                    // tidemarks of the newest entry
}

func (l *lab) ledger() ledger { return readLedger(l.t, l.bus.JetStream()) }

func readLedger(t testing.TB, js jetstream.JetStream) ledger {
	t.Helper()
	out := ledger{seqs: map[uint64]map[uint64]int{}, readings: map[int64]int{}}
	s, err := js.Stream(t.Context(), contract.StreamDevice)
	if err != nil {
		t.Fatal(err)
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 {
		return out
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reader := stream.NewReader(js, slog.New(slog.DiscardHandler))
	entries := make(chan *stream.Entry)
	go func() { _ = reader.Run(ctx, state.FirstSeq-1, entries) }() // it ends with ctx, without an error
	for e := range entries {
		for _, m := range e.Messages {
			out.add(t, m, reader.Lookup(ctx))
		}
		if out.last = e.Tidemarks; e.Sequence >= state.LastSeq {
			return out
		}
	}
	t.Fatal("the stream was not read to its end")
	return out
}

func (l *ledger) add(t testing.TB, m *protocol.Message, lookup protocol.LookupSchema) {
	t.Helper()
	if m.Type == protocol.TypeSchema {
		return
	}
	if l.seqs[m.Epoch] == nil {
		l.seqs[m.Epoch] = map[uint64]int{}
	}
	for _, r := range m.Seqs().Ranges() {
		for seq := r.First; seq <= r.Last; seq++ {
			l.seqs[m.Epoch][seq]++
		}
	}
	if m.Type != protocol.TypeTelemetry {
		return
	}
	tel, err := m.Telemetry(lookup)
	if err != nil {
		t.Fatal(err)
	}
	for s := range tel.Scans {
		l.readings[tel.Columns[0].Value(s).Int()]++
	}
}

// once checks that seqs 1 to n of an epoch are in the ledger once, and nothing else of it.
func (l *ledger) once(t testing.TB, epoch uint64, n int) {
	t.Helper()
	for seq := 1; seq <= n; seq++ {
		if c := l.seqs[epoch][uint64(seq)]; c != 1 {
			t.Errorf("seq %d is in the stream %d times", seq, c)
		}
	}
	if len(l.seqs[epoch]) != n {
		t.Errorf("%d seqs are in the stream, want %d", len(l.seqs[epoch]), n)
	}
}

// dead returns the dead letters.
func (l *lab) dead() (letters []*jetstream.RawStreamMsg) {
	l.t.Helper()
	s, err := l.bus.JetStream().Stream(l.t.Context(), contract.StreamDead)
	if err != nil {
		l.t.Fatal(err)
	}
	for seq := uint64(1); ; seq++ {
		m, err := s.GetMsg(l.t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return letters
		}
		if err != nil {
			l.t.Fatal(err)
		}
		if strings.HasPrefix(m.Subject, "service_platform.dead.") {
			letters = append(letters, m)
		}
	}
}

func (l *lab) purge() {
	l.t.Helper()
	s, err := l.bus.JetStream().Stream(l.t.Context(), contract.StreamDevice)
	if err == nil {
		err = s.Purge(l.t.Context())
	}
	if err != nil {
		l.t.Fatal(err)
	}
}
