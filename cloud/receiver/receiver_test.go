package receiver

import (
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

func TestCommitAckAndReplay(t *testing.T) {
	l := newLab(t)
	c := l.dial(gw)
	s := schema(t, "a.b")
	bundle := []*protocol.Message{s.Message(), telemetry(t, s, 9, 1), event(9, 2), telemetry(t, s, 9, 3)}
	if a := c.send(bundle...); a.Epoch != 9 || a.Committed.String() != "1-3" || a.Time == 0 {
		t.Fatalf("ack %+v", a)
	}
	if a := c.send(bundle...); a.Committed.String() != "1-3" {
		t.Errorf("the ack of a replay is %s", a.Committed)
	}
	if a := c.send(bundle[2], event(9, 4)); a.Committed.String() != "1-4" { // half of it is new
		t.Errorf("ack %s", a.Committed)
	}
	led := l.ledger()
	led.once(t, 9, 4)
	if marks, err := protocol.ParseTidemarks(led.last); err != nil || marks.Of(9).String() != "1-4" {
		t.Errorf("the newest entry's tidemarks are %q (%v)", led.last, err)
	}
}

func TestHostileBundles(t *testing.T) {
	l := newLab(t)
	c := l.dial(gw)
	s := schema(t, "a.b")
	good := encode(t, s.Message(), telemetry(t, s, 9, 1))
	payloads := map[string][]byte{
		"empty":              {},
		"no CBOR":            []byte("hello, world"),
		"cut short":          good[:len(good)-1],
		"bytes behind":       append(append([]byte{}, good...), 0xff),
		"indefinite length":  {0xbf, 0x00, 0x01, 0xff},
		"deep nesting":       append([]byte{0xa1, 0x08}, bytesOf(0x81, 5000)...),
		"a huge array":       {0xa1, 0x08, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a zstd frame's end": {0x28, 0xb5, 0x2f, 0xfd},
		"a zstd bomb":        {0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0x7f, 0x03, 0x00, 0x10, 0x00},
		"a seq of 0":         zeroSeq(t),
	}
	for name, p := range payloads {
		before := len(l.dead())
		if code := c.publish(gw.UpTopic(), p); code != 0x99 {
			t.Errorf("%s: PUBACK with reason code %#x, want 0x99", name, code)
		}
		letters := l.dead()
		if len(letters) != before+1 {
			t.Errorf("%s: %d dead letters, want one more than %d", name, len(letters), before)
			continue
		}
		d := letters[before]
		if d.Subject != contract.DeadSubject(gw) || d.Header.Get(contract.HeaderReason) == "" || d.Header.Get(contract.HeaderText) == "" || string(d.Data) != string(p) {
			t.Errorf("%s: the dead letter %v does not say what and why", name, d.Header)
		}
	}
	led := l.ledger()
	led.once(t, 9, 0)
	if a := c.send(s.Message(), telemetry(t, s, 9, 1)); a.Committed.String() != "1" { // the connection works on
		t.Errorf("ack %s", a.Committed)
	}
}

func bytesOf(b byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}

// zeroSeq is a well-formed message whose seq is missing.
func zeroSeq(t *testing.T) []byte {
	t.Helper()
	m := event(9, 1)
	m.Seq = 0
	return encode(t, m)
}

// What cannot be accepted of a bundle is dead; the rest of it is committed, and the tidemark covers both.
func TestMessagesThatCannotBeAccepted(t *testing.T) {
	l := newLab(t)
	c := l.dial(gw)
	unknown := event(9, 2)
	unknown.Type = 77
	foreign := protocol.Heartbeat{Gateway: "plant/gw-2"}
	a := c.send(event(9, 1), unknown,
		&protocol.Message{Type: protocol.TypeHeartbeat, Epoch: 9, Seq: 3, Boot: 1, Body: foreign.Encode()},
		&protocol.Message{Type: protocol.TypeEvent, Epoch: 9, Seq: 4, Boot: 1, Body: []byte{0x01}}, event(9, 5))
	if a.Committed.String() != "1-5" || len(a.Rejected) != 3 {
		t.Fatalf("ack %s with %d rejections", a.Committed, len(a.Rejected))
	}
	want := map[uint64]string{2: protocol.ReasonUnknownType, 3: protocol.ReasonWrongGateway, 4: protocol.ReasonMalformed}
	for _, r := range a.Rejected {
		if r.First != r.Last || r.Reason != want[r.First] || r.Text == "" {
			t.Errorf("rejection %+v", r)
		}
	}
	if n := len(l.dead()); n != 3 {
		t.Errorf("%d dead letters", n)
	}
	led := l.ledger()
	if led.seqs[9][1] != 1 || led.seqs[9][5] != 1 || len(led.seqs[9]) != 2 {
		t.Errorf("the stream holds %v", led.seqs[9])
	}
	if a := c.send(unknown); a.Committed.String() != "1-5" { // again: still refused, and told once only
		t.Errorf("ack %s", a.Committed)
	}
	if n := len(l.dead()); n != 3 {
		t.Errorf("%d dead letters after a replay", n)
	}
}

func TestUnknownSchema(t *testing.T) {
	l := newLab(t)
	c := l.dial(gw)
	s := schema(t, "a.b")
	id := s.ID()
	a := c.send(telemetry(t, s, 9, 1), event(9, 2))
	if a.Committed.String() != "2" || len(a.Need) != 1 || string(a.Need[0]) != string(id[:]) {
		t.Fatalf("ack %s, needs %x, want the schema %s", a.Committed, a.Need, id)
	}
	if a = c.send(s.Message(), telemetry(t, s, 9, 1)); a.Committed.String() != "1-2" || len(a.Need) != 0 {
		t.Fatalf("with the schema: ack %s, needs %x", a.Committed, a.Need)
	}
	led := l.ledger()
	led.once(t, 9, 2)
	l.stop()
	l.start() // another receiver knows it from the bucket
	if a = l.dial(gw).send(telemetry(t, s, 9, 3)); a.Committed.String() != "1-3" {
		t.Errorf("ack %s", a.Committed)
	}
}

// A joined message that is committed in part is trimmed to the rest.
func TestJoinedMessageCommittedInPart(t *testing.T) {
	l := newLab(t)
	c := l.dial(gw)
	s := schema(t, "a.b")
	lookup := func(protocol.SchemaID) *protocol.Schema { return s }
	c.send(s.Message(), telemetry(t, s, 9, 2))
	joined := protocol.Join([]*protocol.Message{telemetry(t, s, 9, 1), telemetry(t, s, 9, 2), telemetry(t, s, 9, 3)}, lookup)
	if len(joined) != 1 || joined[0].Count() != 3 {
		t.Fatalf("%d messages: they were not joined", len(joined))
	}
	for range 2 {
		if a := c.send(joined...); a.Committed.String() != "1-3" {
			t.Fatalf("ack %s", a.Committed)
		}
	}
	led := l.ledger()
	led.once(t, 9, 3)
	for v := int64(1); v <= 3; v++ {
		if led.readings[v] != 1 {
			t.Errorf("the reading of seq %d is in the stream %d times", v, led.readings[v])
		}
	}
}

func TestEpochs(t *testing.T) {
	l := newLab(t)
	c := l.dial(gw)
	c.send(event(9, 1), event(9, 2))
	if a := c.send(event(10, 1)); a.Epoch != 10 || a.Committed.String() != "1" {
		t.Fatalf("ack %+v", a)
	}
	if a := c.send(event(9, 2)); a.Epoch != 9 || a.Committed.String() != "1-2" {
		t.Errorf("the old epoch: %+v", a)
	}
	if a := c.send(event(9, 3)); a.Committed.String() != "1-3" {
		t.Errorf("ack %s", a.Committed)
	}
	a := c.send(event(11, 1), event(12, 1)) // two epochs in one bundle
	if len(a.Rejected) != 0 || a.Epoch != 11 || a.Committed.String() != "1" || len(l.dead()) != 1 {
		t.Errorf("two epochs in one bundle: %+v, %d dead letters", a, len(l.dead()))
	}
	led := l.ledger()
	led.once(t, 9, 3)
	led.once(t, 10, 1)
}

// Once retention has removed a gateway's last bundle, the snapshot still says what was in the stream, to the receiver that
// wrote it and to the next one.
func TestReplayAfterRetention(t *testing.T) {
	l := newLab(t)
	c := l.dial(gw)
	c.send(event(9, 1), event(9, 2))
	l.r.snapshot(t.Context())
	l.purge()
	if a := c.send(event(9, 1), event(9, 2)); a.Committed.String() != "1-2" {
		t.Errorf("ack %s", a.Committed)
	}
	l.stop()
	l.start()
	c = l.dial(gw)
	if a := c.send(event(9, 2)); a.Committed.String() != "1-2" {
		t.Errorf("ack %s", a.Committed)
	}
	led := l.ledger()
	led.once(t, 9, 0)
	if a := c.send(event(9, 3)); a.Committed.String() != "1-3" {
		t.Errorf("ack %s", a.Committed)
	}
}

// A receiver that was killed before it wrote a snapshot leaves none; the next one writes it, though the gateway is silent.
func TestSnapshotOfASilentGateway(t *testing.T) {
	l := newLab(t)
	l.dial(gw).send(event(9, 1))
	l.stop() // without a snapshot, as a kill would
	l.start()
	key := contract.Key(gw)
	waitFor(t, "the snapshot is written", func() bool {
		v, err := l.r.tidemarks.Get(t.Context(), key)
		return err == nil && len(v.Value()) > 0
	})
	l.purge()
	if a := l.dial(gw).send(event(9, 1)); a.Committed.String() != "1" {
		t.Errorf("ack %s", a.Committed)
	}
	led := l.ledger()
	led.once(t, 9, 0)
}

// Of two receivers the one that is behind does not write an older snapshot over the newer.
func TestSnapshotsOfTwoReceivers(t *testing.T) {
	l := newLab(t)
	first := l.r
	l.dial(gw).send(event(9, 1))
	l.start() // another, beside it
	l.dial(gw).send(event(9, 2))
	l.r.snapshot(t.Context())
	first.snapshot(t.Context())
	v, err := first.tidemarks.Get(t.Context(), contract.Key(gw))
	if err != nil {
		t.Fatal(err)
	}
	var s contract.TidemarkSnapshot
	if err := json.Unmarshal(v.Value(), &s); err != nil {
		t.Fatal(err)
	}
	marks, err := protocol.ParseTidemarks(s.Tidemarks)
	if err != nil {
		t.Fatal(err)
	}
	if got := marks.Of(9).String(); got != "1-2" {
		t.Errorf("the snapshot has %s, the stream held 1-2", got)
	}
}

func TestPresenceOrder(t *testing.T) {
	l := newLab(t)
	c := l.dial(gw)
	say := func(p protocol.Presence) { c.publish(gw.PresenceTopic(), p.Encode()) }
	have := func() (p contract.Presence) {
		v, err := l.r.presence.Get(t.Context(), contract.Key(gw))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(v.Value(), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for i, step := range []struct {
		say     protocol.Presence
		online  bool
		session uint64
	}{
		{protocol.Presence{Online: true, Session: 2, Epoch: 9}, true, 2},
		{protocol.Presence{Session: 1, Epoch: 9}, true, 2},               // the will of the session before, late
		{protocol.Presence{Online: true, Session: 1, Epoch: 9}, true, 2}, // and its birth
		{protocol.Presence{Session: 2, Epoch: 9}, false, 2},
		{protocol.Presence{Online: true, Session: 2, Epoch: 9}, false, 2}, // a birth that its own will has overtaken
		{protocol.Presence{Online: true, Session: 3, Epoch: 9}, true, 3},
		{protocol.Presence{Session: 9, Epoch: 8}, true, 3}, // the will of an outbox that is no more
		{protocol.Presence{Online: true, Session: 1, Epoch: 10}, true, 1},
		{protocol.Presence{Session: 1, Epoch: 10, Graceful: true}, false, 1},
	} {
		say(step.say)
		if p := have(); p.Online != step.online || p.Session != step.session {
			t.Errorf("step %d: %+v, want online %v in session %d", i, p, step.online, step.session)
		}
	}
	for len(c.acks) > 0 {
		<-c.acks
	}
	c.send(event(10, 1))
	say(protocol.Presence{Online: true, Session: 2, Epoch: 10})
	if a := c.ack(); a.Epoch != 10 || a.Committed.String() != "1" {
		t.Errorf("a birth is answered with %+v", a)
	}
	c.publish(gw.PresenceTopic(), []byte("no CBOR"))
	if p := have(); !p.Online || p.Session != 2 {
		t.Errorf("after a presence that is none: %+v", p)
	}
}

// While the stream is gone nothing is acknowledged; when it is back all of it is committed once.
func TestStreamGoneAndBack(t *testing.T) {
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	server := openBus(t, bus.Config{Dir: dir, Listen: addr})
	l := &lab{t: t, bus: openBus(t, bus.Config{URL: "nats://" + addr})}
	l.start()
	c := l.dial(gw)
	c.send(event(9, 1))
	server.Close()
	if code := c.publish(gw.UpTopic(), encode(t, event(9, 2))); code < 0x80 {
		t.Errorf("without a stream: PUBACK with reason code %#x", code)
	}
	if len(c.acks) != 0 {
		t.Errorf("without a stream: an ack %+v", <-c.acks)
	}
	openBus(t, bus.Config{Dir: dir, Listen: addr})
	waitFor(t, "the bundle is committed", func() bool {
		return c.publish(gw.UpTopic(), encode(t, event(9, 2))) == 0
	})
	if a := c.ack(); a.Committed.String() != "1-2" {
		t.Errorf("ack %s", a.Committed)
	}
	led := l.ledger()
	led.once(t, 9, 2)
}

// Two receivers that are given the same and different bundles at once commit each message once.
func TestTwoReceiversAtOnce(t *testing.T) {
	l := newLab(t)
	a := l.dial(gw)
	l.start()
	b := l.dial(gw)
	const n = 200
	var both sync.WaitGroup
	for i, c := range []*client{a, b} {
		both.Go(func() {
			for seq := uint64(1); seq <= n; seq++ {
				if (seq+uint64(i))%3 == 0 {
					continue
				}
				if code := c.publish(gw.UpTopic(), encode(t, event(9, seq))); code != 0 {
					t.Errorf("PUBACK with reason code %#x", code)
				}
			}
		})
	}
	both.Wait()
	led := l.ledger()
	led.once(t, 9, n)
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for !done() {
		if time.Now().After(end) {
			t.Fatal("not within 30 s: " + what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
