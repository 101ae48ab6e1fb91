package link

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho/log"
	"github.com/eclipse/paho.golang/paho/session"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// perConnection is an MQTT session that ends with its connection, as the clean
// start that every connection asks for says. Paho by itself keeps one over all
// connections: it would send what was not acknowledged again, which is the
// outbox's affair, and a publish that overlaps with a reconnect would use the
// send quota while the new connection replaces it.
type perConnection struct {
	now atomic.Pointer[state.State] // of the newest connection
}

func newSession() *perConnection {
	p := &perConnection{}
	p.now.Store(state.NewInMemory())
	return p
}

// ConAckReceived begins a session; until it is ready, the one before is used,
// which refuses what is sent.
func (p *perConnection) ConAckReceived(w io.Writer, cp *packets.Connect, ca *packets.Connack) error {
	s := state.NewInMemory()
	if err := s.ConAckReceived(w, cp, ca); err != nil {
		return errors.Join(err, s.Close())
	}
	return p.now.Swap(s).Close()
}

// ConnectionLost ends what waits for the connection.
func (p *perConnection) ConnectionLost(dp *packets.Disconnect) error {
	return p.now.Load().ConnectionLost(dp)
}

// AddToSession gives a packet its identifier and its place in the send quota.
func (p *perConnection) AddToSession(ctx context.Context, packet session.Packet, resp chan<- packets.ControlPacket) error {
	return p.now.Load().AddToSession(ctx, packet, resp)
}

// PacketReceived passes on a packet from the broker.
func (p *perConnection) PacketReceived(recv *packets.ControlPacket, pubs chan<- *packets.Publish) error {
	return p.now.Load().PacketReceived(recv, pubs)
}

// Ack acknowledges what the broker sent.
func (p *perConnection) Ack(pb *packets.Publish) error { return p.now.Load().Ack(pb) }

// Close ends the session.
func (p *perConnection) Close() error { return p.now.Load().Close() }

// SetErrorLogger does nothing: what goes wrong comes back as an error.
func (p *perConnection) SetErrorLogger(log.Logger) {}

// SetDebugLogger does nothing.
func (p *perConnection) SetDebugLogger(log.Logger) {}

var _ session.SessionManager = (*perConnection)(nil)
