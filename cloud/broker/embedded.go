package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/wind-c/comqtt/v2/mqtt"
	"github.com/wind-c/comqtt/v2/mqtt/packets"

	"tidemark/protocol"
)

// maxPacket bounds an MQTT packet from a client, in bytes: a bundle, its topic
// and its properties.
const maxPacket = protocol.MaxPayload + 8<<10

// DefaultMaxConnections bounds the connections of an embedded broker.
const DefaultMaxConnections = 20_000

// Embedded is an MQTT 5 broker in this process.
type Embedded struct {
	server   *mqtt.Server
	listener *listener
}

// NewEmbedded returns a broker that serves l. The receiver gets what arrives.
func NewEmbedded(l net.Listener, maxConnections int, log *slog.Logger) *Embedded {
	if maxConnections <= 0 {
		maxConnections = DefaultMaxConnections
	}
	caps := *mqtt.DefaultServerCapabilities
	caps.MaximumPacketSize = maxPacket
	caps.MaximumSessionExpiryInterval = 0
	caps.MaximumQos = 1
	caps.ReceiveMaximum = 64
	caps.TopicAliasMaximum = 0 // access is checked before an alias is resolved
	caps.WildcardSubAvailable = 0
	caps.SharedSubAvailable = 0
	caps.MinimumProtocolVersion = 5
	caps.MaximumClientWritesPending = 256
	caps.Compatibilities.NoInheritedPropertiesOnAck = true
	return &Embedded{
		server: mqtt.New(&mqtt.Options{Capabilities: &caps, InlineClient: true, SysTopicResendInterval: 3600,
			ClientNetReadBufferSize: 16 << 10, Logger: slog.New(slog.DiscardHandler)}),
		listener: newListener(l, maxConnections, log),
	}
}

// Addr returns where the broker listens.
func (b *Embedded) Addr() net.Addr { return b.listener.l.Addr() }

// Run serves until ctx is done.
func (b *Embedded) Run(ctx context.Context, h Handler) error {
	if err := b.server.AddHook(&hook{ctx: ctx, handler: h, clients: b.server.Clients, log: b.listener.log}, nil); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if err := b.server.AddListener(b.listener); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	<-ctx.Done()
	if err := b.server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("broker: close: %w", err)
	}
	return nil
}

// Send publishes to a topic of one gateway, QoS 0. It does not wait.
func (b *Embedded) Send(_ context.Context, topic string, payload []byte) error {
	if err := b.server.Publish(topic, payload, false, 0); err != nil {
		return fmt.Errorf("broker: publish to %s: %w", topic, err)
	}
	return nil
}

// hook is what we have the broker do differently.
type hook struct {
	mqtt.HookBase
	ctx     context.Context // of Run: the hook's methods have none
	handler Handler
	clients *mqtt.Clients
	log     *slog.Logger
}

// ID names the hook to the broker.
func (h *hook) ID() string { return "tidemark" }

// Provides says which methods the broker is to call.
func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPublish, mqtt.OnWill, mqtt.OnDisconnect, mqtt.OnSessionEstablished:
		return true
	}
	return false
}

// OnConnectAuthenticate admits clients whose id is a gateway's address, and
// whose will, which the broker would publish unchecked, is their presence.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	g, err := protocol.ParseGateway(cl.ID)
	if err != nil {
		h.log.Warn("a connection was refused: its client id is not site/gateway", "remote", cl.Net.Remote, "err", err)
		return false
	}
	if pk.Connect.WillFlag && (pk.Connect.WillTopic != g.PresenceTopic() || len(pk.Connect.WillPayload) > maxPresence) {
		h.log.Warn("a connection was refused: its will is not its presence", "site", g.Site, "gateway", g.Name, "remote", cl.Net.Remote)
		return false
	}
	if k := cl.State.Keepalive; k == 0 || k > maxKeepalive {
		cl.State.Keepalive, cl.State.ServerKeepalive = maxKeepalive, true // MQTT 5 section 3.2.2.3.14
	}
	return true
}

// maxKeepalive bounds how long a dead connection is held, in seconds; the
// broker waits half as long again.
const maxKeepalive = 120

// maxPresence bounds a presence, in bytes.
const maxPresence = 1 << 10

// OnACLCheck compares topics to the letter: a filter with a wildcard is no
// gateway's topic.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	return Allowed(cl.ID, topic, write)
}

// Allowed says whether the client with an id may publish (or else subscribe) to a topic.
func Allowed(clientID, topic string, write bool) bool {
	g, err := protocol.ParseGateway(clientID)
	if err != nil {
		return false
	}
	if write {
		return topic == g.UpTopic() || topic == g.PresenceTopic()
	}
	return topic == g.AckTopic() || topic == g.CommandTopic() || topic == g.DesiredTopic()
}

// errForgotten ends a connection that the broker no longer knows. It forgets a
// client by its id when an earlier connection with the same id is torn down, and
// with it whoever has connected under that id meanwhile: such a gateway would
// publish and never hear an ack. It connects again at once.
var errForgotten = errors.New("another connection with this client id took its place, or took it along when it ended")

// OnPublish hands what gateways publish to the receiver and keeps the broker
// from forwarding it. It runs in the goroutine that reads the connection, so a
// gateway that sends faster than the stream commits is slowed by TCP, alone.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil
	}
	if registered, ok := h.clients.Get(cl.ID); !ok || registered != cl {
		cl.Stop(errForgotten)
		return pk, packets.ErrServerBusy
	}
	pk.Ignore = true
	pk.FixedHeader.Retain = false
	_, g, leaf, err := protocol.ParseTopic(pk.TopicName)
	if err != nil || g.String() != cl.ID {
		return pk, packets.ErrNotAuthorized
	}
	if leaf == "presence" {
		h.handler.Presence(h.ctx, g, pk.Payload)
		return pk, nil
	}
	p := Publish{Payload: pk.Payload}
	for _, u := range pk.Properties.User {
		switch u.Key {
		case propTraceparent:
			p.Traceparent = u.Val
		case propSent:
			p.SentMs, _ = strconv.ParseInt(u.Val, 10, 64) // not a number: not known
		}
	}
	switch err := h.handler.Bundle(h.ctx, g, p); {
	case err == nil:
		return pk, nil
	case errors.Is(err, ErrRefused):
		return pk, packets.ErrPayloadFormatInvalid
	}
	return pk, packets.ErrServerBusy
}

// OnWill takes the last will of a client and keeps the broker from publishing it.
func (h *hook) OnWill(cl *mqtt.Client, will mqtt.Will) (mqtt.Will, error) {
	if g, err := protocol.ParseGateway(cl.ID); err == nil && will.TopicName == g.PresenceTopic() {
		h.handler.Presence(h.ctx, g, will.Payload)
	}
	will.Retain = false
	return will, nil
}

// OnSessionEstablished logs a change of state.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	h.log.Info("gateway connected", "client", cl.ID, "remote", cl.Net.Remote)
}

// OnDisconnect logs a change of state.
func (h *hook) OnDisconnect(cl *mqtt.Client, err error, _ bool) {
	h.log.Info("gateway disconnected", "client", cl.ID, "remote", cl.Net.Remote, "err", err)
}
