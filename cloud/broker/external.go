package broker

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"tidemark/protocol"
)

// The subscriptions of a receiver at an external broker. Bundles are shared
// between receivers; presence goes to each, and the newest session wins.
const (
	sharedUp    = "$share/tidemark/device/+/+/up"
	allPresence = "device/+/+/presence"
)

// receiveMaximum bounds what the external broker may send before we answer,
// and with it the memory that waiting bundles take.
const receiveMaximum = 64

// External is a client of an MQTT 5 broker that is not ours.
type External struct {
	url *url.URL
	log *slog.Logger

	mu      sync.Mutex
	conn    *autopaho.ConnectionManager
	failing bool // connecting fails, and that was told
	workers map[protocol.Gateway]chan paho.PublishReceived
}

// NewExternal returns a client of the broker at u, such as mqtt://127.0.0.1:1883.
func NewExternal(u string, log *slog.Logger) (*External, error) {
	parsed, err := url.Parse(u)
	if err != nil || parsed.Host == "" {
		return nil, fmt.Errorf("broker: %q is not the address of an MQTT broker, such as mqtt://127.0.0.1:1883", u)
	}
	return &External{url: parsed, log: log, workers: map[protocol.Gateway]chan paho.PublishReceived{}}, nil
}

// Run serves until ctx is done. It connects again after every loss.
func (b *External) Run(ctx context.Context, h Handler) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	cm, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{b.url}, KeepAlive: 20, CleanStartOnInitialConnection: true, SessionExpiryInterval: 0,
		ReconnectBackoff: autopaho.NewExponentialBackoff(100*time.Millisecond, 10*time.Second, 500*time.Millisecond, 2),
		ConnectTimeout:   5 * time.Second,
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			workers.Go(func() { b.subscribe(ctx, cm) })
		},
		OnConnectionDown: func() bool {
			b.log.Warn("the MQTT broker is gone; connecting again", "broker", b.url.Redacted())
			return true
		},
		OnConnectError: b.unreachable,
		ConnectPacketBuilder: func(c *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			most := uint16(receiveMaximum)
			if c.Properties == nil { // autopaho makes them only where it has some itself
				c.Properties = &paho.ConnectProperties{}
			}
			c.Properties.ReceiveMaximum = &most
			return c, nil
		},
		ClientConfig: paho.ClientConfig{
			ClientID: "tidemark-receiver-" + rand.Text()[:10], EnableManualAcknowledgment: true, SendAcksInterval: 5 * time.Millisecond,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
				b.dispatch(ctx, h, p, &workers)
				return true, nil
			}},
		},
	})
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	b.mu.Lock()
	b.conn = cm
	b.mu.Unlock()
	<-cm.Done()
	return nil
}

// unreachable hears of each attempt to connect that failed; the first is logged.
func (b *External) unreachable(err error) {
	b.mu.Lock()
	first := !b.failing
	b.failing = true
	b.mu.Unlock()
	if first {
		b.log.Warn("the MQTT broker refuses or does not answer; connecting again until it does", "broker", b.url.Redacted(), "err", err)
	}
}

func (b *External) subscribe(ctx context.Context, cm *autopaho.ConnectionManager) {
	_, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
		{Topic: sharedUp, QoS: 1}, {Topic: allPresence, QoS: 1}}})
	if err == nil {
		b.mu.Lock()
		b.failing = false
		b.mu.Unlock()
		b.log.Info("subscribed at the MQTT broker", "broker", b.url.Redacted())
		return
	}
	if ctx.Err() == nil {
		b.log.Error("the MQTT broker refuses the receiver's subscriptions; check its access rules", "broker", b.url.Redacted(), "err", err)
	}
}

// dispatch gives each gateway a goroutine of its own while it has something,
// so that they do not wait for each other and each stays in order. A channel
// never fills: the broker sends no more than receiveMaximum ahead.
func (b *External) dispatch(ctx context.Context, h Handler, p paho.PublishReceived, workers *sync.WaitGroup) {
	_, g, _, err := protocol.ParseTopic(p.Packet.Topic)
	if err != nil {
		b.log.Warn("a publish on a topic that is no gateway's was passed over", "err", err)
		b.ack(p.Client, p.Packet)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	ch, ok := b.workers[g]
	if !ok {
		ch = make(chan paho.PublishReceived, receiveMaximum)
		b.workers[g] = ch
		workers.Go(func() { b.work(ctx, h, g, ch) })
	}
	select {
	case ch <- p:
	default: // a broker that ignores Receive Maximum: the gateway sends it again
		b.ack(p.Client, p.Packet)
	}
}

func (b *External) work(ctx context.Context, h Handler, g protocol.Gateway, ch chan paho.PublishReceived) {
	for {
		select {
		case p := <-ch:
			b.handle(ctx, h, g, p.Packet)
			b.ack(p.Client, p.Packet) // of the connection that it came by
			continue
		default:
		}
		b.mu.Lock()
		if len(ch) == 0 {
			delete(b.workers, g)
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
	}
}

func (b *External) handle(ctx context.Context, h Handler, g protocol.Gateway, p *paho.Publish) {
	if p.Topic == g.PresenceTopic() {
		if len(p.Payload) > 0 && len(p.Payload) <= maxPresence {
			h.Presence(ctx, g, p.Payload)
		}
		return
	}
	in := Publish{Payload: p.Payload}
	if p.Properties != nil {
		in.Traceparent = p.Properties.User.Get(propTraceparent)
		in.SentMs, _ = strconv.ParseInt(p.Properties.User.Get(propSent), 10, 64) // not a number: not known
	}
	if err := h.Bundle(ctx, g, in); err != nil && ctx.Err() == nil {
		b.log.Debug("a bundle was not committed", "site", g.Site, "gateway", g.Name, "err", err) // the handler has told it
	}
}

// ack answers the broker. It does so even for what could not be committed:
// PUBACK means only that the broker need not send it again.
func (b *External) ack(client *paho.Client, p *paho.Publish) {
	if p.QoS == 0 {
		return
	}
	if err := client.Ack(p); err != nil {
		b.log.Debug("acknowledge to the broker", "err", err)
	}
}

// Send publishes to a topic of one gateway, QoS 0.
func (b *External) Send(ctx context.Context, topic string, payload []byte) error {
	b.mu.Lock()
	conn := b.conn
	b.mu.Unlock()
	if conn == nil {
		return fmt.Errorf("broker: publish to %s: not connected yet", topic)
	}
	if _, err := conn.Publish(ctx, &paho.Publish{Topic: topic, Payload: payload}); err != nil {
		return fmt.Errorf("broker: publish to %s: %w", topic, err)
	}
	return nil
}
