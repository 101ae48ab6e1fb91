package link

import (
	"time"

	"github.com/eclipse/paho.golang/paho"

	"tidemark/protocol"
)

// received takes what the cloud publishes to this gateway.
func (l *Link) received(p paho.PublishReceived) {
	if p.Packet.Topic != l.cfg.Gateway.AckTopic() {
		return
	}
	var a protocol.Ack
	if err := protocol.Unmarshal(p.Packet.Payload, &a); err != nil {
		l.cfg.Log.Warn("an ack does not decode; it is passed over", "err", err)
		return
	}
	l.hearRefused(a.Refused)
	if a.Epoch != l.store.Epoch() {
		return // of an outbox that this gateway had before
	}
	if top := a.Committed.Max(); top > l.store.Head() {
		if l.untold(&l.copied) {
			l.cfg.Log.Error("the cloud has committed more than this outbox ever held: its folder was restored from a copy; "+
				"move the folder away so that the outbox starts a new epoch", "epoch", protocol.EpochString(a.Epoch), "seq", top)
		}
		return
	}
	l.apply(&a, p.Client)
	if err := l.store.Ack(a.Committed); err != nil {
		l.cfg.Log.Error("the outbox could not take an ack", "err", err)
	}
	l.poke()
}

func (l *Link) apply(a *protocol.Ack, client *paho.Client) {
	l.mu.Lock()
	first := l.client == nil
	l.client = client
	l.stats.acked(a.Time, a.Committed.Count())
	need := map[protocol.SchemaID]bool{}
	for _, id := range a.Need {
		if len(id) == len(protocol.SchemaID{}) {
			need[protocol.SchemaID(id)] = true
			delete(l.schemas, protocol.SchemaID(id))
		}
	}
	l.missSchemas(need)
	done := l.flight.settle(a.Committed, need, l.apart.again)
	for _, b := range done {
		d := time.Since(b.at)
		l.cfg.Hops.Observe(protocol.Received, d)
		l.stats.ackTime(d)
		for id := range b.schemas {
			l.schemas[id] = schemaConfirmed
		}
	}
	if len(done) > 0 {
		l.hearTaken()
	}
	if first {
		l.stats.setOnline(true)
		l.copied, l.barred = false, false
	}
	session := l.session
	l.mu.Unlock()
	for _, r := range a.Rejected {
		l.cfg.Log.Error("the cloud refused messages; they are in its dead letters", "epoch", protocol.EpochString(a.Epoch),
			"seq", r.First, "last", r.Last, "reason", r.Reason, "err", r.Text)
	}
	if first {
		l.cfg.Log.Info("the link is up", "broker", l.cfg.Broker.Redacted(), "session", session, "committed", a.Committed.String())
		l.cfg.Observer.LinkUp()
	}
}

// untold reports whether something has not been told before, and marks it as told.
func (l *Link) untold(told *bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !*told
	*told = true
	return first
}

// poke wakes the sender.
func (l *Link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
