package link_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wind-c/comqtt/v2/mqtt"
	"github.com/wind-c/comqtt/v2/mqtt/listeners"
	"github.com/wind-c/comqtt/v2/mqtt/packets"
	"go.uber.org/goleak"

	"tidemark/agent/hops"
	"tidemark/agent/link"
	"tidemark/agent/outbox"
	"tidemark/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	quiet = slog.New(slog.DiscardHandler)
	me    = protocol.Gateway{Site: "site", Name: "gw"}
)

const patience = 40 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen in %v: %s", patience, what)
		}
	}
}

// cloud is a broker with the other end of the protocol behind it, which a test
// can make deaf, forgetful or wrong.
type cloud struct {
	mqtt.HookBase
	server *mqtt.Server
	addr   string

	mu        sync.Mutex
	refuse    bool          // connections
	deaf      bool          // answers nothing
	hold      chan struct{} // bundles wait until it is closed
	keep      bool          // schemas
	schemas   map[protocol.SchemaID]bool
	committed protocol.Set
	order     []uint64 // seqs as they were committed
	bundles   [][]*protocol.Message
	presences []protocol.Presence
	lie       func(*protocol.Ack)
	bad       func([]*protocol.Message) bool // bundles to refuse as a whole
	refused   int
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{schemas: map[protocol.SchemaID]bool{}, keep: true}
	caps := *mqtt.DefaultServerCapabilities
	c.server = mqtt.New(&mqtt.Options{Capabilities: &caps, InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	if err := c.server.AddHook(c, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.server.AddListener(listeners.NewNet("tcp", l)); err != nil {
		t.Fatal(err)
	}
	if err := c.server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.server.Close() })
	return c
}

func (c *cloud) ID() string { return "cloud" }

func (c *cloud) Provides(b byte) bool {
	return slices.Contains([]byte{mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPublish}, b)
}

func (c *cloud) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.refuse
}

func (c *cloud) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

func (c *cloud) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil
	}
	if known, ok := c.server.Clients.Get(cl.ID); !ok || known != cl { // forgotten with the connection before, as in cloud/broker
		cl.Stop(io.ErrUnexpectedEOF)
		return pk, packets.ErrServerBusy
	}
	pk.Ignore = true
	if pk.TopicName == me.UpTopic() && c.hold != nil {
		<-c.hold
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch pk.TopicName {
	case me.PresenceTopic():
		var p protocol.Presence
		if err := protocol.Unmarshal(pk.Payload, &p); err != nil {
			return pk, packets.ErrPayloadFormatInvalid
		}
		c.presences = append(c.presences, p)
		if p.Online && !c.deaf {
			c.answer(protocol.Ack{Epoch: p.Epoch})
		}
	case me.UpTopic():
		msgs, err := protocol.DecodeBundle(pk.Payload)
		if err != nil {
			return pk, packets.ErrPayloadFormatInvalid
		}
		if c.bad != nil && c.bad(msgs) {
			c.refused++
			c.answer(protocol.Ack{Epoch: msgs[len(msgs)-1].Epoch, Refused: []protocol.Refusal{{
				Bundle: protocol.BundleID(pk.Payload), Reason: protocol.ReasonMalformed, Text: "it makes no sense"}}})
			return pk, packets.ErrPayloadFormatInvalid
		}
		c.bundles = append(c.bundles, msgs)
		if !c.deaf {
			c.commit(msgs)
		}
	default:
		return pk, packets.ErrTopicNameInvalid
	}
	return pk, nil
}

func (c *cloud) commit(msgs []*protocol.Message) {
	var a protocol.Ack
	for _, m := range msgs {
		if m.Type == protocol.TypeSchema {
			s, err := protocol.DecodeSchema(m.Body)
			if err == nil && c.keep {
				c.schemas[s.ID()] = true
			}
			c.keep = true // what it forgets, it forgets once
			continue
		}
		a.Epoch = m.Epoch
		if id, err := m.SchemaOf(); err == nil && m.Type == protocol.TypeTelemetry && !c.schemas[id] {
			a.Need = append(a.Need, id[:])
			continue
		}
		for _, r := range m.Seqs().Ranges() {
			for s := r.First; s <= r.Last; s++ {
				if !c.committed.Contains(s) {
					c.order = append(c.order, s)
				}
			}
		}
		c.committed.AddSet(m.Seqs())
	}
	c.answer(a)
}

func (c *cloud) answer(a protocol.Ack) {
	a.Committed, a.Time = c.committed.Clone(), time.Now().UnixMilli()
	if c.lie != nil {
		c.lie(&a)
	}
	if err := c.server.Publish(me.AckTopic(), a.Encode(), false, 0); err != nil {
		panic(err)
	}
}

// with calls f under the cloud's lock.
func (c *cloud) with(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *cloud) has(first, last uint64) func() bool {
	return func() (ok bool) {
		c.with(func() { ok = c.committed.ContainsAll(first, last) })
		return ok
	}
}

// watcher is an observer that remembers.
type watcher struct {
	mu    sync.Mutex
	rungs []string
	ups   int
}

func (w *watcher) LinkUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ups++
}

func (w *watcher) LinkDown(rung, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rungs = append(w.rungs, rung)
}

func (w *watcher) saw(rung string) func() bool {
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Contains(w.rungs, rung)
	}
}

// store is the outbox as agent.go hands it to the link.
type store struct{ *outbox.Outbox }

func (s store) Read(after, upTo uint64, maxBytes int, skip protocol.Set) ([]*protocol.Message, error) {
	stored, err := s.Outbox.Read(after, upTo, maxBytes, skip)
	if err != nil {
		return nil, err
	}
	var out []*protocol.Message
	for _, r := range stored {
		m, err := protocol.DecodeMessage(r.Data)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// gateway is an outbox and the link in front of it.
type gateway struct {
	t     *testing.T
	box   *outbox.Outbox
	watch *watcher
	link  *link.Link
	stop  func()
}

func newOutbox(t *testing.T) *outbox.Outbox {
	t.Helper()
	box, err := outbox.Open(t.Context(), outbox.Config{Dir: t.TempDir(), CommitInterval: time.Millisecond, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- box.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("outbox: %v", err)
		}
		if err := box.Close(); err != nil {
			t.Errorf("outbox: %v", err)
		}
	})
	return box
}

func newGateway(t *testing.T, addr string, box *outbox.Outbox, log io.Writer) *gateway {
	t.Helper()
	g := &gateway{t: t, box: box, watch: &watcher{}}
	g.link = link.New(link.Config{Broker: &url.URL{Scheme: "mqtt", Host: addr}, Gateway: me, SendEvery: 20 * time.Millisecond,
		FirstSession: 100, Presence: protocol.Presence{Agent: "test", Gateway: me.String()}, Observer: g.watch, Hops: &hops.Recorder{},
		Log: slog.New(slog.NewTextHandler(log, nil))}, store{box})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.link.Run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("link: %v", err)
		}
	})
	t.Cleanup(g.stop)
	return g
}

// add commits n messages of one reading each and returns the last seq.
func add(t *testing.T, box *outbox.Outbox, n int) (last uint64) {
	t.Helper()
	schema, err := protocol.NewSchema([]protocol.Point{{Name: "d.x", Kind: protocol.Int}}, []int{1})
	if err != nil {
		t.Fatal(err)
	}
	b := protocol.NewBuilder(schema)
	var ticket *outbox.Ticket
	for range n {
		m := &protocol.Message{Type: protocol.TypeTelemetry, Time: time.Now().UnixMilli(), Boot: 1}
		if err := b.Add([]int64{m.Time}, []protocol.Reading{{Value: protocol.IntValue(m.Time)}}); err != nil {
			t.Fatal(err)
		}
		if m.Body, err = b.Body(m.Time); err != nil {
			t.Fatal(err)
		}
		b.Reset()
		if ticket, err = box.Append(t.Context(), m, schema, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := ticket.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ticket.Seq()
}

// addTexts commits n events of 4 KB each, which compress to half of that.
func addTexts(t *testing.T, box *outbox.Outbox, n int) {
	t.Helper()
	var ticket *outbox.Ticket
	x := uint64(12345)
	for range n {
		text := make([]byte, 0, 4096)
		for len(text) < 4000 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			text = fmt.Appendf(text, "%x", x)
		}
		e := protocol.Event{Code: "test", Text: string(text[:4000])}
		m := &protocol.Message{Type: protocol.TypeEvent, Time: time.Now().UnixMilli(), Boot: 1, Body: e.Encode()}
		var err error
		if ticket, err = box.Append(t.Context(), m, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := ticket.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestEverythingArrivesAndIsAcknowledged(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	add(t, box, 500)
	g := newGateway(t, c.addr, box, io.Discard)
	eventually(t, "the link comes up", g.link.Online)
	last := add(t, box, 100)
	eventually(t, "all is acknowledged", func() bool { return box.Acked().ContainsAll(1, last) })
	if g.watch.ups != 1 {
		t.Errorf("it came up %d times", g.watch.ups)
	}
	schemas := 0
	c.with(func() {
		for _, b := range c.bundles {
			for _, m := range b {
				if m.Type == protocol.TypeSchema {
					schemas++
				}
			}
		}
	})
	if schemas != 1 {
		t.Errorf("the schema was sent %d times over one connection", schemas)
	}
	g.stop()
	c.with(func() {
		birth, bye := c.presences[0], c.presences[len(c.presences)-1]
		if !birth.Online || birth.Session != 100 || birth.Epoch != box.Epoch() || birth.Gateway != me.String() {
			t.Errorf("it was born as %+v", birth)
		}
		if bye.Online || !bye.Graceful || bye.Session != birth.Session || bye.Agent != "test" {
			t.Errorf("it said goodbye as %+v", bye)
		}
	})
	if s := g.link.State(); s.BytesOut == 0 || s.Acks == 0 || s.Published == 0 || s.DrainEtaMs != 0 {
		t.Errorf("state %+v", s)
	}
}

func TestSchemaThatTheCloudLacksIsSentAgain(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	c.keep = false
	last := add(t, box, 10)
	newGateway(t, c.addr, box, io.Discard)
	eventually(t, "all is acknowledged", func() bool { return box.Acked().ContainsAll(1, last) })
	c.with(func() { clear(c.schemas) }) // the cloud lost its bucket
	last = add(t, box, 10)
	eventually(t, "all is acknowledged again", func() bool { return box.Acked().ContainsAll(1, last) })
}

func TestReconnectGoesOnWhereTheCloudIs(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	g := newGateway(t, c.addr, box, io.Discard)
	session := uint64(0) // of the connection before
	for round := range 3 {
		eventually(t, "the link comes up", func() bool { s := g.link.State(); return s.Online && s.Session > session })
		session = g.link.State().Session
		if round == 1 {
			c.with(func() { c.deaf = true }) // acks get lost
		}
		last := add(t, box, 50)
		eventually(t, "a bundle arrives", func() (ok bool) { c.with(func() { ok = len(c.bundles) > round }); return ok })
		eventually(t, "the broker knows the connection", func() bool {
			cl, ok := c.server.Clients.Get(me.String())
			if ok {
				cl.Stop(io.ErrUnexpectedEOF)
			}
			return ok
		})
		c.with(func() { c.deaf = false })
		eventually(t, "all is acknowledged", func() bool { return box.Acked().ContainsAll(1, last) })
	}
	c.with(func() {
		if n := len(c.presences); n < 4 {
			t.Errorf("%d presences for four connections", n)
		}
		for i := 1; i < len(c.presences); i++ {
			// A birth that gets no answer is said again, with the same session.
			if c.presences[i].Online && c.presences[i].Session < c.presences[i-1].Session {
				t.Errorf("session %d follows %d", c.presences[i].Session, c.presences[i-1].Session)
			}
		}
	})
}

func TestFreshFirst(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	c.hold = make(chan struct{})
	release := sync.OnceFunc(func() { close(c.hold) })
	defer release()
	const backlog = 1000 // 2 MB as sent, several windows
	addTexts(t, box, backlog)
	g := newGateway(t, c.addr, box, io.Discard)
	eventually(t, "the link comes up", g.link.Online)
	eventually(t, "the window is full", func() bool { return g.link.State().InFlight >= 256<<10 })
	fresh := add(t, box, 1)
	release()
	eventually(t, "the fresh message arrives", c.has(fresh, fresh))
	eventually(t, "the backlog arrives", c.has(1, fresh))
	c.with(func() {
		behind := len(c.order) - 1 - slices.Index(c.order, fresh)
		if behind < backlog/2 {
			t.Errorf("the fresh message arrived before %d of the %d that waited", behind, backlog)
		}
	})
}

func TestAckOfWhatNeverWasIsRefused(t *testing.T) {
	t.Parallel() // it waits for seconds
	c, box := newCloud(t), newOutbox(t)
	last := add(t, box, 10)
	var log lockedBuffer
	c.lie = func(a *protocol.Ack) { a.Committed = set(1, last+1000) }
	g := newGateway(t, c.addr, box, &log)
	eventually(t, "it is told", func() bool { return log.has("restored from a copy") })
	if !box.Acked().Empty() || g.link.Online() {
		t.Errorf("acknowledged %s, online %t", box.Acked(), g.link.Online())
	}
	births := func() (n int) { c.with(func() { n = len(c.presences) }); return n }
	eventually(t, "it asks again", func() bool { return births() > 1 })
	if n := log.count("restored from a copy"); n != 1 {
		t.Errorf("told %d times", n)
	}
	c.with(func() { c.lie = func(a *protocol.Ack) { a.Epoch++; a.Committed = set(1, last) } })
	next := add(t, box, 1)
	if !box.Acked().Empty() {
		t.Errorf("an ack of another epoch acknowledged %s", box.Acked())
	}
	c.with(func() { c.lie = nil })
	eventually(t, "true acks are taken", func() bool { return box.Acked().ContainsAll(1, next) })
}

func TestRejectedMessagesAreTold(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	var log lockedBuffer
	c.lie = func(a *protocol.Ack) {
		a.Rejected = []protocol.Rejection{{First: 1, Last: 2, Reason: protocol.ReasonMalformed, Text: "it makes no sense"}}
	}
	newGateway(t, c.addr, box, &log)
	last := add(t, box, 3)
	eventually(t, "all is acknowledged", func() bool { return box.Acked().ContainsAll(1, last) })
	eventually(t, "it is told", func() bool { return log.has("it makes no sense") })
}

func TestBrokerThatRefuses(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	c.with(func() { c.refuse = true })
	last := add(t, box, 1)
	g := newGateway(t, c.addr, box, io.Discard)
	eventually(t, "the rung is named", g.watch.saw(protocol.RungConnack))
	c.with(func() { c.refuse = false })
	eventually(t, "it connects once it may", func() bool { return box.Acked().ContainsAll(1, last) })
}

func TestClosedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	g := newGateway(t, l.Addr().String(), newOutbox(t), io.Discard)
	eventually(t, "the rung is named", g.watch.saw(protocol.RungTCP))
	began := time.Now()
	g.stop()
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("stopping took %v", d)
	}
}

func TestNoReceiverBehindTheBroker(t *testing.T) {
	t.Parallel() // it waits for seconds
	c, box := newCloud(t), newOutbox(t)
	c.deaf = true
	last := add(t, box, 1)
	g := newGateway(t, c.addr, box, io.Discard)
	eventually(t, "the rung is named", g.watch.saw(protocol.RungAck))
	if g.link.Online() {
		t.Error("the link counts as up")
	}
	c.with(func() { c.deaf = false; c.bundles = nil })
	eventually(t, "it goes on once there is one", func() bool { return box.Acked().ContainsAll(1, last) })
}

// lockedBuffer is a log that a test reads while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(part))
}

func (l *lockedBuffer) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(part))
}

func set(first, last uint64) protocol.Set {
	return protocol.SetOf(protocol.Range{First: first, Last: last})
}

// A broker may lose what it knew of a connection that it keeps open: then only
// another one helps.
func TestDeafConnectionIsGivenUp(t *testing.T) {
	t.Parallel() // it waits for seconds
	c, box := newCloud(t), newOutbox(t)
	c.deaf = true
	last := add(t, box, 1)
	g := newGateway(t, c.addr, box, io.Discard)
	eventually(t, "it announces itself on another connection", func() (ok bool) {
		c.with(func() {
			ok = slices.ContainsFunc(c.presences, func(p protocol.Presence) bool { return p.Online && p.Session > 100 })
		})
		return ok
	})
	eventually(t, "what is told is that no receiver answers", g.watch.saw(protocol.RungAck))
	c.with(func() { c.deaf = false })
	eventually(t, "it is heard there", func() bool { return box.Acked().ContainsAll(1, last) })
}

func TestReceiverThatFallsSilent(t *testing.T) {
	t.Parallel() // it waits for seconds
	c, box := newCloud(t), newOutbox(t)
	g := newGateway(t, c.addr, box, io.Discard)
	eventually(t, "the link comes up", g.link.Online)
	c.with(func() { c.deaf = true })
	last := add(t, box, 1)
	eventually(t, "the link counts as down", func() bool { return !g.link.Online() && g.watch.saw(protocol.RungAck)() })
	c.with(func() { c.deaf = false })
	eventually(t, "it comes up again", func() bool { return g.link.Online() && box.Acked().ContainsAll(1, last) })
}
