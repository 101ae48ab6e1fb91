package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"tidemark/cloud/broker"
	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// network is between senders and receivers: what was put into it may come late, in another order, more than once, or never.
type network struct {
	mu   sync.Mutex
	up   []flying // bundles
	down []flying // acks
}

type flying struct {
	gateway int
	payload []byte
}

// Send is how a receiver publishes an ack.
func (n *network) Send(_ context.Context, topic string, payload []byte) error {
	_, g, leaf, err := protocol.ParseTopic(topic)
	if err != nil {
		return err
	}
	if leaf != "ack" {
		return fmt.Errorf("topic %q is not that of an ack", topic)
	}
	i := 0
	if _, err := fmt.Sscanf(g.Name, "g%d", &i); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = append(n.down, flying{i, payload})
	return nil
}

// sender is an outbox and its link, reduced to what they promise: messages are numbered, sent in any selection, and kept
// until an ack names them.
type sender struct {
	gw      protocol.Gateway
	epoch   uint64
	next    uint64
	kept    map[uint64]*protocol.Message
	made    map[uint64]map[uint64]bool // by epoch: every seq that was ever made
	dropped map[uint64]map[uint64]bool // named in a dropped message
	schemas map[protocol.SchemaID]bool // that the cloud is believed to have
	schema  *protocol.Schema
}

func (s *sender) append(m *protocol.Message) {
	if s.made[s.epoch] == nil {
		s.made[s.epoch] = map[uint64]bool{}
	}
	s.kept[m.Seq], s.made[s.epoch][m.Seq] = m, true
	s.next++
}

// model is the whole: senders, network, receivers on a real stream, and what must come of it.
type model struct {
	t         *rapid.T
	tt        *testing.T
	bus       *bus.Bus
	net       *network
	receivers []*Receiver
	senders   []*sender
}

// Operations in any order on senders, the network and receivers, and then a network that delivers: every message of every
// epoch is in the stream once, none is there that was not made, and each sender is told so. The receivers and their stream
// are the real ones; the reference is a plain map.
func TestModel(t *testing.T) {
	b := openBus(t, bus.Config{Dir: t.TempDir()})
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &model{t: rt, tt: t, bus: b, net: &network{}}
		for i := range 2 {
			m.senders = append(m.senders, newSender(t, run, i))
		}
		m.receivers = []*Receiver{m.newReceiver(), m.newReceiver()}
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.append, "send": m.send, "deliver": m.deliver, "lose": m.lose, "duplicate": m.duplicate, "hear": m.hear,
			"restart a receiver": m.restart, "begin a new epoch": m.newEpoch, "drop": m.drop, "snapshot": m.snapshot,
		})
		m.drain()
		m.compare()
	})
}

func newSender(t *testing.T, run, i int) *sender {
	return &sender{gw: protocol.Gateway{Site: fmt.Sprintf("run%d", run), Name: fmt.Sprintf("g%d", i)}, epoch: uint64(100*run + i + 1), next: 1,
		kept: map[uint64]*protocol.Message{}, made: map[uint64]map[uint64]bool{}, dropped: map[uint64]map[uint64]bool{},
		schemas: map[protocol.SchemaID]bool{}, schema: schema(t, fmt.Sprintf("a.run%d", run), "a.c")}
}

func (m *model) newReceiver() *Receiver {
	r, err := New(context.Background(), Config{Log: slog.New(slog.DiscardHandler)}, m.bus.JetStream(), m.net)
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

func (m *model) any(t *rapid.T) *sender { return m.senders[rapid.IntRange(0, 1).Draw(t, "gateway")] }

func (m *model) append(t *rapid.T) {
	s := m.any(t)
	for range rapid.IntRange(1, 5).Draw(t, "messages") {
		if rapid.Bool().Draw(t, "telemetry") {
			s.append(telemetry(m.tt, s.schema, s.epoch, s.next))
		} else {
			s.append(event(s.epoch, s.next))
		}
	}
}

// drop gives the oldest messages up, as an outbox over its budget does.
func (m *model) drop(t *rapid.T) {
	s := m.any(t)
	var named protocol.Set
	for seq := uint64(1); seq < s.next && named.Count() < 3; seq++ {
		if s.kept[seq] != nil && s.kept[seq].Type == protocol.TypeTelemetry {
			delete(s.kept, seq)
			named.Add(seq, seq)
		}
	}
	if named.Empty() {
		return
	}
	if s.dropped[s.epoch] == nil {
		s.dropped[s.epoch] = map[uint64]bool{}
	}
	for _, r := range named.Ranges() {
		for seq := r.First; seq <= r.Last; seq++ {
			s.dropped[s.epoch][seq] = true
		}
	}
	d := protocol.Dropped{Ranges: named, Count: named.Count(), Cause: protocol.CauseBudget, Text: "full"}
	s.append(&protocol.Message{Type: protocol.TypeDropped, Epoch: s.epoch, Seq: s.next, Time: 1, Boot: 1, Body: d.Encode()})
}

// send publishes some of what is kept, joined.
func (m *model) send(t *rapid.T) {
	i := rapid.IntRange(0, 1).Draw(t, "gateway")
	part := rapid.IntRange(1, 4).Draw(t, "one in")
	m.publish(i, func(seq uint64) bool { return (seq+uint64(part))%uint64(part) == 0 })
}

func (m *model) publish(i int, want func(seq uint64) bool) {
	s := m.senders[i]
	var msgs []*protocol.Message
	for seq := uint64(1); seq < s.next; seq++ {
		if s.kept[seq] != nil && want(seq) {
			msgs = append(msgs, s.kept[seq])
		}
	}
	if len(msgs) == 0 {
		return
	}
	msgs = protocol.Join(msgs, func(protocol.SchemaID) *protocol.Schema { return s.schema })
	if id := s.schema.ID(); !s.schemas[id] {
		s.schemas[id] = true
		msgs = append([]*protocol.Message{s.schema.Message()}, msgs...)
	}
	payload, err := protocol.EncodeBundle(msgs)
	if err != nil {
		m.t.Fatal(err)
	}
	m.net.up = append(m.net.up, flying{i, payload})
}

// take removes one from a queue, anywhere in it.
func take(t *rapid.T, q *[]flying) (f flying, ok bool) {
	if len(*q) == 0 {
		return f, false
	}
	i := rapid.IntRange(0, len(*q)-1).Draw(t, "which")
	f = (*q)[i]
	*q = append((*q)[:i:i], (*q)[i+1:]...)
	return f, true
}

func (m *model) deliver(t *rapid.T) {
	if f, ok := take(t, &m.net.up); ok {
		m.give(f, rapid.IntRange(0, len(m.receivers)-1).Draw(t, "receiver"))
	}
}

func (m *model) give(f flying, receiver int) {
	err := m.receivers[receiver].Bundle(context.Background(), m.senders[f.gateway].gw, broker.Publish{Payload: f.payload})
	if errors.Is(err, broker.ErrRefused) || err != nil {
		m.t.Fatalf("a good bundle was not taken: %v", err)
	}
}

func (m *model) lose(t *rapid.T) {
	if rapid.Bool().Draw(t, "an ack") {
		take(t, &m.net.down)
	} else {
		take(t, &m.net.up)
	}
}

func (m *model) duplicate(t *rapid.T) {
	if f, ok := take(t, &m.net.up); ok {
		m.net.up = append(m.net.up, f, f)
	}
}

func (m *model) hear(t *rapid.T) {
	if f, ok := take(t, &m.net.down); ok {
		m.heard(f)
	}
}

// heard takes an ack: it deletes, and never names what was not made.
func (m *model) heard(f flying) {
	s := m.senders[f.gateway]
	var a protocol.Ack
	if err := protocol.Unmarshal(f.payload, &a); err != nil {
		m.t.Fatal(err)
	}
	for _, id := range a.Need {
		delete(s.schemas, protocol.SchemaID(id))
	}
	if len(a.Rejected) > 0 {
		m.t.Fatalf("%s: rejected %+v", s.gw, a.Rejected)
	}
	for _, r := range a.Committed.Ranges() {
		for seq := r.First; seq <= r.Last; seq++ {
			if !s.made[a.Epoch][seq] {
				m.t.Fatalf("%s: an ack names seq %d of epoch %d, which was never made", s.gw, seq, a.Epoch)
			}
			if a.Epoch == s.epoch {
				delete(s.kept, seq)
			}
		}
	}
}

func (m *model) restart(t *rapid.T) {
	m.receivers[rapid.IntRange(0, len(m.receivers)-1).Draw(t, "receiver")] = m.newReceiver()
}

func (m *model) snapshot(t *rapid.T) {
	m.receivers[rapid.IntRange(0, len(m.receivers)-1).Draw(t, "receiver")].snapshot(context.Background())
}

// newEpoch begins an outbox anew once the old one is drained, so that nothing may be missing of it.
func (m *model) newEpoch(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "one in ten") != 0 {
		return
	}
	i := rapid.IntRange(0, 1).Draw(t, "gateway")
	m.drainOne(i)
	s := m.senders[i]
	s.epoch, s.next = s.epoch+1000_000, 1
}

// drain delivers until the senders have nothing left.
func (m *model) drain() {
	for i := range m.senders {
		m.drainOne(i)
	}
	for _, f := range m.net.up { // what is still under way arrives late
		m.give(f, 0)
	}
}

func (m *model) drainOne(i int) {
	s := m.senders[i]
	for round := 0; len(s.kept) > 0; round++ {
		if round == 5 {
			m.t.Fatalf("%s does not drain: %d messages are kept", s.gw, len(s.kept))
		}
		m.publish(i, func(uint64) bool { return true })
		f := m.net.up[len(m.net.up)-1]
		m.net.up = m.net.up[:len(m.net.up)-1]
		m.give(f, round%len(m.receivers))
		acks := m.net.down
		m.net.down = nil
		for _, a := range acks {
			m.heard(a)
		}
	}
}

// compare holds the stream against the maps.
func (m *model) compare() {
	led := readLedger(m.tt, m.bus.JetStream())
	for _, s := range m.senders {
		for epoch, made := range s.made {
			for seq := range made {
				n := led.seqs[epoch][seq]
				if n > 1 || n == 0 && !s.dropped[epoch][seq] {
					m.t.Fatalf("%s: seq %d of epoch %d is in the stream %d times (dropped: %v)", s.gw, seq, epoch, n, s.dropped[epoch][seq])
				}
			}
			for seq := range led.seqs[epoch] {
				if !made[seq] {
					m.t.Fatalf("%s: the stream holds seq %d of epoch %d, which was never made", s.gw, seq, epoch)
				}
			}
		}
	}
	if s, err := m.bus.JetStream().Stream(context.Background(), contract.StreamDevice); err != nil || s.Purge(context.Background()) != nil {
		m.t.Fatal("the stream cannot be purged: ", err)
	}
}
