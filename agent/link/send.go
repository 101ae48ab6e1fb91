package link

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"tidemark/protocol"
)

// targetPayload is how large a bundle of backlog should be as published.
const targetPayload = 100 << 10

// send publishes what is to be sent until ctx is done.
func (l *Link) send(ctx context.Context) {
	raw := 128 << 10 // bytes of encoded messages that should make targetPayload
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	backlogTurn := false
	for {
		l.introduce(ctx)
		changed := l.store.Changed()
		b, wait := l.next(raw, backlogTurn)
		if b == nil {
			if !l.sleep(ctx, changed, tick.C, wait) {
				return
			}
			continue
		}
		backlogTurn = b.fresh
		switch err := l.publish(ctx, b); {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errTooLarge):
			raw = max(4<<10, raw/2)
		case err != nil:
			l.cfg.Log.Debug("publish", "err", err)
			l.sleep(ctx, nil, nil, minBackoff)
		case b.raw > raw/2 && b.payload > 0:
			raw = nextRaw(raw, b.payload)
		}
	}
}

// maxRaw bounds what is joined into one bundle, in bytes of encoded messages.
const maxRaw = 768 << 10

// nextRaw returns how many bytes of encoded messages should make targetPayload,
// if raw made payload.
func nextRaw(raw, payload int) int {
	want := int64(raw) * targetPayload / int64(payload) // more than 32 bits hold
	return int(min(max(want, int64(raw/2), 16<<10), int64(raw*2), maxRaw))
}

// sleep waits for anything that may give the sender work; false once ctx is done.
func (l *Link) sleep(ctx context.Context, changed <-chan struct{}, tick <-chan time.Time, wait time.Duration) bool {
	var timer <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-l.wake:
	case <-tick:
	case <-timer:
	case <-ctx.Done():
		return false
	}
	return true
}

// pending is a bundle to be published.
type pending struct {
	messages []*protocol.Message
	seqs     protocol.Set
	fresh    bool
	raw      int // bytes of the messages as the outbox holds them
	payload  int // bytes as published
	client   *paho.Client
	apart    bool // part of a bundle that was refused
}

// next works out what to send: fresh messages first, but in turn with the
// backlog, so that neither starves the other. If there is nothing yet it
// returns how long to wait, 0 for no limit.
func (l *Link) next(raw int, backlogTurn bool) (*pending, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	if l.client == nil || !l.flight.room() {
		return nil, 0
	}
	if wait := time.Until(l.apart.notBefore); wait > 0 {
		return nil, wait
	}
	skip := l.store.Acked().Clone()
	skip.AddSet(l.flight.seqs)
	skip.AddSet(l.apart.aside)
	if b := l.nextApart(raw, skip); b != nil {
		return b, 0
	}
	return l.nextOf(raw, backlogTurn, skip)
}

// expire has bundles sent again that were not acknowledged in time. That is
// logged when it begins, and when acks come again.
func (l *Link) expire() {
	n := l.flight.expire(time.Now().Add(-ackTimeout), l.apart.again)
	if n > 0 && !l.late {
		l.late = true
		l.cfg.Log.Warn("bundles were not acknowledged in time; they are sent again until they are", "count", n)
	}
	if n > 0 && l.client != nil && time.Since(l.stats.rateAt) > ackTimeout { // not one ack: the receiver is gone
		l.client, l.bornAt, l.births = nil, time.Time{}, 0
		l.stats.setOnline(false)
		l.cfg.Observer.LinkDown(protocol.RungAck, "the broker is reached, but no receiver acknowledges behind it")
	}
}

// nextOf takes turns between fresh messages and the backlog, without skip.
func (l *Link) nextOf(raw int, backlogTurn bool, skip protocol.Set) (*pending, time.Duration) {
	head := l.store.Head()
	backlog := !skip.ContainsAll(1, l.headAt) && l.headAt > 0
	if backlog && backlogTurn {
		if b := l.read(0, l.headAt, raw, skip, false); b != nil {
			return b, 0
		}
	}
	var wait time.Duration
	if head > l.headAt && !skip.ContainsAll(l.headAt+1, head) {
		b := l.read(l.headAt, head, raw, skip, true)
		wait = l.cfg.SendEvery - time.Since(l.lastSent)
		if b != nil && (wait <= 0 || b.seqs.Max() < head || urgent(b.messages)) { // due, full, or urgent
			l.lastSent = time.Now()
			return b, 0
		}
	}
	if backlog && !backlogTurn {
		if b := l.read(0, l.headAt, raw, skip, false); b != nil {
			return b, 0
		}
	}
	return nil, max(wait, 0)
}

func (l *Link) read(after, upTo uint64, raw int, skip protocol.Set, fresh bool) *pending {
	msgs, err := l.store.Read(after, upTo, raw, skip)
	if err != nil {
		l.cfg.Log.Error("the outbox cannot be read", "err", err)
		return nil
	}
	if len(msgs) == 0 {
		return nil
	}
	b := &pending{fresh: fresh, client: l.client}
	readings := 0
	for _, m := range msgs {
		readings += l.readingsOf(m)
		if len(b.messages) > 0 && readings > protocol.MaxBundleReadings {
			break // runs of equal values are short in bytes, and many in readings
		}
		b.messages = append(b.messages, m)
		b.seqs.Add(m.Seq, m.Seq)
		b.raw += len(m.Body) + 40
	}
	return b
}

// readingsOf returns how many readings a message holds at most.
func (l *Link) readingsOf(m *protocol.Message) int {
	if m.Type != protocol.TypeTelemetry {
		return 0
	}
	id, scans, err := m.Scans()
	if err != nil {
		return 0
	}
	s := l.store.Schema(id)
	if s == nil {
		return 0
	}
	return scans * len(s.Points)
}

// urgent reports whether a message is among msgs that must not wait for others.
func urgent(msgs []*protocol.Message) bool {
	for _, m := range msgs {
		if m.Type != protocol.TypeTelemetry && m.Type != protocol.TypeHeartbeat {
			return true
		}
	}
	return false
}

var errTooLarge = errors.New("the bundle is too large")

// publish joins and encodes a bundle and sends it.
func (l *Link) publish(ctx context.Context, b *pending) error {
	l.leaveOrphans(b)
	if len(b.messages) == 0 {
		return nil
	}
	joined := protocol.Join(b.messages, l.store.Schema)
	ids := l.schemasOf(joined)
	out := make([]*protocol.Message, 0, len(joined)+len(ids))
	l.mu.Lock()
	for id := range ids {
		if l.schemas[id] == 0 {
			if s := l.store.Schema(id); s != nil {
				out = append(out, s.Message())
			}
			l.schemas[id] = schemaSent
		}
	}
	l.mu.Unlock()
	payload, err := protocol.EncodeBundle(append(out, joined...))
	if err != nil {
		l.forget(ids)
		if len(b.messages) > 1 {
			l.split(b)
			return errTooLarge
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.giveUp(b.seqs, protocol.CauseCorrupt, "It cannot be sent: "+err.Error()+".")
		return nil
	}
	b.payload = len(payload)
	now := time.Now()
	l.mu.Lock()
	l.flight.add(&sent{id: protocol.BundleID(payload), seqs: b.seqs, schemas: ids, bytes: len(payload), at: now,
		apart: b.apart, dropped: len(b.messages) == 1 && b.messages[0].Type == protocol.TypeDropped})
	l.stats.published++
	l.mu.Unlock()
	// In this version PUBLISH packets leave in the order of these calls.
	_, err = b.client.PublishWithOptions(ctx, &paho.Publish{Topic: l.cfg.Gateway.UpTopic(), QoS: 1, Payload: payload,
		Properties: &paho.PublishProperties{User: paho.UserProperties{
			{Key: "traceparent", Value: b.messages[0].Traceparent()},
			{Key: "sent", Value: strconv.FormatInt(now.UnixMilli(), 10)},
		}}}, paho.PublishOptions{Method: paho.PublishMethod_AsyncSend})
	l.cfg.Hops.Observe(protocol.Sent, time.Since(now))
	return err
}

// schemasOf returns the schemas that messages need.
func (l *Link) schemasOf(msgs []*protocol.Message) map[protocol.SchemaID]bool {
	ids := map[protocol.SchemaID]bool{}
	for _, m := range msgs {
		if m.Type != protocol.TypeTelemetry {
			continue
		}
		if id, err := m.SchemaOf(); err == nil {
			ids[id] = true
		}
	}
	return ids
}

func (l *Link) forget(ids map[protocol.SchemaID]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetSent(ids)
}

// forgetSent has schemas that are not confirmed sent again. l.mu is held.
func (l *Link) forgetSent(ids map[protocol.SchemaID]bool) {
	for id := range ids {
		if l.schemas[id] == schemaSent {
			delete(l.schemas, id)
		}
	}
}
