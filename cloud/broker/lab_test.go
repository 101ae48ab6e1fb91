package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"tidemark/protocol"
)

var gw = protocol.Gateway{Site: "plant", Name: "gw-1"}

// arrivals is a handler that keeps what arrives.
type arrivals struct {
	mu        sync.Mutex
	bundles   []string // gateway and payload
	presences []string
	answer    func(payload []byte) error // nil: all is well
}

// answers sets what is answered from now on.
func (a *arrivals) answers(f func(payload []byte) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = f
}

func (a *arrivals) Bundle(_ context.Context, g protocol.Gateway, p Publish) error {
	a.mu.Lock()
	a.bundles = append(a.bundles, g.String()+" "+string(p.Payload))
	answer := a.answer
	a.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(p.Payload)
}

func (a *arrivals) Presence(_ context.Context, g protocol.Gateway, payload []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.presences = append(a.presences, g.String()+" "+string(payload))
}

func (a *arrivals) count() (bundles, presences int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.bundles), len(a.presences)
}

func (a *arrivals) has(presence string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.presences {
		if p == presence {
			return true
		}
	}
	return false
}

// lab is a running embedded broker.
type lab struct {
	t     *testing.T
	edge  *Embedded
	addr  string
	heard *arrivals
}

func newLab(t *testing.T, most int) *lab {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &lab{t: t, edge: NewEmbedded(l, most, slog.New(slog.DiscardHandler)), addr: l.Addr().String(), heard: &arrivals{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.edge.Run(ctx, b.heard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return b
}

// client is a plain MQTT client.
type client struct {
	*paho.Client
	t    *testing.T
	conn net.Conn
	got  chan *paho.Publish
	end  chan struct{} // closed when the broker ends the connection
}

// try connects and returns the error and the CONNACK.
func (b *lab) try(id string, will *paho.WillMessage) (*client, *paho.Connack, error) {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	c := &client{t: b.t, conn: conn, got: make(chan *paho.Publish, 100), end: make(chan struct{})}
	ended := sync.OnceFunc(func() { close(c.end) })
	c.Client = paho.NewClient(paho.ClientConfig{Conn: conn, PacketTimeout: 10 * time.Second,
		OnClientError: func(error) { ended() }, OnServerDisconnect: func(*paho.Disconnect) { ended() },
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			c.got <- p.Packet
			return true, nil
		}}})
	cp := &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 60, WillMessage: will}
	if will != nil {
		cp.WillProperties = &paho.WillProperties{}
	}
	ack, err := c.Connect(b.t.Context(), cp)
	b.t.Cleanup(func() { conn.Close() })
	return c, ack, err
}

func (b *lab) dial(id string) *client {
	b.t.Helper()
	c, _, err := b.try(id, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// publish returns the reason code of the PUBACK.
func (c *client) publish(topic string, payload []byte) byte {
	c.t.Helper()
	r, err := c.Publish(c.t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: payload})
	if r == nil {
		c.t.Fatalf("no PUBACK on %s: %v", topic, err)
	}
	return r.ReasonCode
}

// subscribe returns the reason code of the SUBACK.
func (c *client) subscribe(filter string) byte {
	c.t.Helper()
	r, err := c.Subscribe(c.t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
	if r == nil || len(r.Reasons) != 1 {
		c.t.Fatalf("no SUBACK for %s: %v", filter, err)
	}
	return r.Reasons[0]
}

// works checks that the broker serves a gateway.
func (b *lab) works(c *client) {
	b.t.Helper()
	if code := c.publish(c.ClientID()+"/x", nil); code < 0x80 {
		b.t.Errorf("a foreign topic was taken, with reason code %#x", code)
	}
	g, err := protocol.ParseGateway(c.ClientID())
	if err != nil {
		b.t.Fatal(err)
	}
	if code := c.publish(g.UpTopic(), []byte("alive")); code != 0 {
		b.t.Errorf("%s: PUBACK with reason code %#x", g, code)
	}
}

// raw connects without a library, for packets that none would send.
func (b *lab) raw(id string) net.Conn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	cp := packets.NewControlPacket(packets.CONNECT)
	c := cp.Content.(*packets.Connect)
	c.ClientID, c.CleanStart, c.KeepAlive, c.ProtocolName, c.ProtocolVersion = id, true, 60, "MQTT", 5
	if _, err := cp.WriteTo(conn); err != nil {
		b.t.Fatal(err)
	}
	ack, err := packets.ReadPacket(conn)
	if err != nil || ack.Type != packets.CONNACK || ack.Content.(*packets.Connack).ReasonCode != 0 {
		b.t.Fatalf("CONNACK %v: %v", ack, err)
	}
	return conn
}

// ends checks that the broker closes a connection.
func (b *lab) ends(what string, conn net.Conn) {
	b.t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		b.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		_, err := conn.Read(buf)
		if err == nil {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			b.t.Errorf("%s: the connection stays open", what)
		}
		return
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for !done() {
		if time.Now().After(end) {
			t.Fatal("not within 20 s: " + what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
