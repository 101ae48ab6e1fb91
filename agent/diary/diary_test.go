package diary

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/agent/clock"
	"tidemark/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

type queue chan protocol.Outage

func (q queue) Append(_ context.Context, m *protocol.Message, _ *protocol.Schema, urgent bool) error {
	var o protocol.Outage
	if err := protocol.Unmarshal(m.Body, &o); err != nil || m.Type != protocol.TypeOutage || !urgent {
		return fmt.Errorf("a %s message (urgent %t): %w", m.Type, urgent, err)
	}
	q <- o
	return nil
}

// broker is a place that can be made to listen and to refuse.
type broker struct {
	t    *testing.T
	addr string
	l    net.Listener
}

func newBroker(t *testing.T) *broker {
	b := &broker{t: t, addr: "127.0.0.1:0"}
	b.accept()
	b.addr = b.l.Addr().String()
	t.Cleanup(b.refuse)
	return b
}

func (b *broker) accept() {
	b.t.Helper()
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.l = l
}

func (b *broker) refuse() { b.l.Close() }

func (b *broker) url() *url.URL { return &url.URL{Scheme: "mqtt", Host: b.addr} }

// start runs a diary that probes often.
func start(t *testing.T, u *url.URL) (*Diary, queue) {
	q := make(queue, 8)
	d := New(u, q, clock.New(quiet), quiet)
	d.every = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return d, q
}

func waitRung(t *testing.T, d *Diary, want string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		rung, text := d.Rung()
		if rung == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the failing rung is %q (%s), want %q", rung, text, want)
		}
	}
}

func rungs(o protocol.Outage) (s string) {
	for _, e := range o.Entries {
		s += e.Rung + " "
	}
	return strings.TrimSpace(s)
}

func TestOutageIsToldWhenItEnds(t *testing.T) {
	b := newBroker(t)
	d, q := start(t, b.url())
	if rung, _ := d.Rung(); rung != "" {
		t.Errorf("before any outage the rung is %q", rung)
	}
	before := time.Now().UnixMilli()
	b.refuse()
	d.LinkDown(protocol.RungTCP, "the connection was lost")
	waitRung(t, d, protocol.RungTCP)
	b.accept() // the machine is back, its broker is not
	waitRung(t, d, protocol.RungConnack)
	d.LinkDown(protocol.RungAck, "no receiver answers")
	waitRung(t, d, protocol.RungAck)
	b.refuse()
	waitRung(t, d, protocol.RungTCP)
	d.LinkUp()
	o := <-q
	if got, want := rungs(o), strings.Join([]string{protocol.RungTCP, protocol.RungConnack, protocol.RungAck, protocol.RungTCP}, " "); got != want {
		t.Errorf("rungs %q, want %q", got, want)
	}
	if o.From < before || o.To < o.From || o.To > time.Now().UnixMilli() {
		t.Errorf("from %d to %d, want after %d", o.From, o.To, before)
	}
	if rung, _ := d.Rung(); rung != "" {
		t.Errorf("after it the rung is %q", rung)
	}
	d.LinkUp() // twice is once
	d.LinkDown(protocol.RungConnack, "refused")
	d.LinkUp()
	if o := <-q; rungs(o) == "" || o.Missed != 0 {
		t.Errorf("the next outage is %+v", o)
	}
}

func TestOutageThatLastsIsToldOnce(t *testing.T) {
	b := newBroker(t)
	b.refuse()
	d := New(b.url(), nil, clock.New(quiet), quiet)
	d.after = 0
	d.LinkDown(protocol.RungTCP, "refused")
	first := d.take()
	if len(first) != 1 || first[0].To != 0 || rungs(*first[0]) != protocol.RungTCP {
		t.Fatalf("an outage that lasts was told as %+v", first)
	}
	if again := d.take(); len(again) != 0 {
		t.Errorf("it was told again: %+v", again)
	}
	d.LinkUp()
	if end := d.take(); len(end) != 1 || end[0].To == 0 || end[0].From != first[0].From {
		t.Errorf("its end was told as %+v", end)
	}
}

func TestRestlessOutageIsBounded(t *testing.T) {
	d := New(&url.URL{Host: "127.0.0.1:1"}, nil, clock.New(quiet), quiet)
	d.LinkDown(protocol.RungTCP, strings.Repeat("x", 10_000))
	d.mu.Lock()
	for i := range 200 {
		d.step([]string{protocol.RungConnack, protocol.RungTCP}[i%2], "changes")
	}
	d.mu.Unlock()
	d.LinkUp()
	o := d.take()[0]
	if len(o.Entries) != maxSteps || o.Missed != 200+1-maxSteps || len(o.Entries[0].Text) > 300 {
		t.Errorf("%d steps, %d missed, a text of %d bytes", len(o.Entries), o.Missed, len(o.Entries[0].Text))
	}
	if n := len(o.Encode()); n > protocol.MaxMessage {
		t.Errorf("it takes %d bytes", n)
	}
}

func TestLadder(t *testing.T) {
	b := newBroker(t)
	if rung, text := walk(t.Context(), b.url()); rung != "" {
		t.Errorf("an open port: %s (%s)", rung, text)
	}
	b.refuse()
	if rung, text := walk(t.Context(), b.url()); rung != protocol.RungTCP || !strings.Contains(text, "refused") {
		t.Errorf("a closed port: %s (%s)", rung, text)
	}
	// A name that cannot exist (RFC 6761, section 6.4). Without any network the interface fails first.
	want := protocol.RungDNS
	if interfaceUp() != nil {
		want = protocol.RungInterface
	}
	if rung, text := walk(t.Context(), &url.URL{Scheme: "mqtt", Host: "broker.invalid:1883"}); rung != want || text == "" {
		t.Errorf("a name that does not exist: %s (%s), want %s", rung, text, want)
	}
}
