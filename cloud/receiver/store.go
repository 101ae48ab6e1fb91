package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/broker"
	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// deadBundle keeps a payload that is no bundle.
func (r *Receiver) deadBundle(ctx context.Context, g protocol.Gateway, p broker.Publish, cause error) error {
	return r.dead(ctx, g, p.Payload, cause, map[string]string{})
}

// deadMessage keeps a message that cannot be accepted. Its id makes a repeated
// dead letter one, within the stream's duplicate window.
func (r *Receiver) deadMessage(ctx context.Context, g protocol.Gateway, m *protocol.Message, cause error) error {
	payload, err := m.Encode()
	if err != nil {
		payload = m.Body
	}
	epoch := protocol.EpochString(m.Epoch)
	return r.dead(ctx, g, payload, cause, map[string]string{
		contract.HeaderEpoch: epoch, contract.HeaderSeqs: m.Seqs().String(), contract.HeaderType: m.Type.String(),
		jetstream.MsgIDHeader: g.String() + " " + epoch + " " + strconv.FormatUint(m.Seq, 10),
	})
}

func (r *Receiver) dead(ctx context.Context, g protocol.Gateway, payload []byte, cause error, headers map[string]string) error {
	msg := nats.NewMsg(contract.DeadSubject(g))
	msg.Data = payload
	for k, v := range headers {
		msg.Header.Set(k, v)
	}
	msg.Header.Set(contract.HeaderReason, protocol.ReasonOf(cause))
	msg.Header.Set(contract.HeaderText, short(cause.Error()))
	msg.Header.Set(contract.HeaderReceived, strconv.FormatInt(time.Now().UnixMicro(), 10))
	if _, err := r.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("receiver: keep a dead letter: %w", err)
	}
	r.metrics.dead.Inc()
	return nil
}

// recordPresence writes the newest session's presence to the bucket. Several
// receivers may hear it; the revision decides.
func (r *Receiver) recordPresence(ctx context.Context, g protocol.Gateway, st *gateway, p *protocol.Presence) error {
	for {
		have, revision, err := r.storedPresence(ctx, g)
		if err != nil {
			return err
		}
		epoch := protocol.EpochString(p.Epoch)
		if have.Epoch == epoch && (p.Session < have.Session || p.Session == have.Session && (p.Online || !have.Online)) {
			return nil // stale, or told before
		}
		if !p.Online && have.Epoch != epoch && have.Online {
			return nil // the will of an outbox that is no more
		}
		st.session = p.Session
		next, err := json.Marshal(contract.Presence{Online: p.Online, Session: p.Session, Epoch: epoch, Since: time.Now().UnixMilli(),
			Agent: p.Agent, Profile: p.Profile, Graceful: p.Graceful})
		if err != nil {
			return fmt.Errorf("receiver: %w", err)
		}
		if revision == 0 {
			_, err = r.presence.Create(ctx, contract.Key(g), next)
		} else {
			_, err = r.presence.Update(ctx, contract.Key(g), next, revision)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) && !bus.IsWrongLastSequence(err) {
			return fmt.Errorf("receiver: write presence: %w", err)
		}
	}
}

// storedPresence returns what the bucket has, and its revision: 0 if nothing.
func (r *Receiver) storedPresence(ctx context.Context, g protocol.Gateway) (have contract.Presence, revision uint64, err error) {
	old, err := r.presence.Get(ctx, contract.Key(g))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return have, 0, nil
	}
	if err != nil {
		return have, 0, fmt.Errorf("receiver: read presence: %w", err)
	}
	if err := json.Unmarshal(old.Value(), &have); err != nil {
		r.log.Warn("a stored presence is damaged; it is written anew", "site", g.Site, "gateway", g.Name, "err", err)
	}
	return have, old.Revision(), nil
}

// loadSnapshot returns the tidemarks of a gateway that has no entry in the stream.
func (r *Receiver) loadSnapshot(ctx context.Context, g protocol.Gateway) (string, error) {
	v, err := r.tidemarks.Get(ctx, contract.Key(g))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("receiver: read the tidemark snapshot of %s: %w", g, err)
	}
	var s contract.TidemarkSnapshot
	if err := json.Unmarshal(v.Value(), &s); err != nil {
		return "", fmt.Errorf("receiver: the tidemark snapshot of %s is damaged: %w", g, err)
	}
	return s.Tidemarks, nil
}

// snapshot writes the tidemarks that changed, and forgets gateways that have
// been silent for long; they are read again when they come back.
func (r *Receiver) snapshot(ctx context.Context) {
	r.mu.Lock()
	all := make(map[protocol.Gateway]*gateway, len(r.gateways))
	for g, st := range r.gateways {
		all[g] = st
	}
	r.mu.Unlock()
	for g, st := range all {
		if err := r.snapshotOne(ctx, g, st); err != nil && ctx.Err() == nil {
			r.log.Warn("a tidemark snapshot was not written; trying again", "site", g.Site, "gateway", g.Name, "err", err)
		}
	}
}

// forgetAfter is how long a silent gateway stays in the cache.
const forgetAfter = time.Hour

func (r *Receiver) snapshotOne(ctx context.Context, g protocol.Gateway, st *gateway) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.dirty {
		if err := r.writeSnapshot(ctx, g, st); err != nil {
			return err
		}
		st.dirty = false
	}
	if time.Since(st.lastSeen) > forgetAfter {
		st.loaded = false // whoever holds it loads it again
		r.mu.Lock()
		delete(r.gateways, g)
		r.mu.Unlock()
	}
	return nil
}

// writeSnapshot replaces the snapshot unless it is of a later entry: another
// receiver may be ahead of this one's cache.
func (r *Receiver) writeSnapshot(ctx context.Context, g protocol.Gateway, st *gateway) error {
	next, err := json.Marshal(contract.TidemarkSnapshot{Tidemarks: st.marks.String(), Sequence: st.last})
	if err != nil {
		return fmt.Errorf("receiver: %w", err)
	}
	for {
		old, err := r.tidemarks.Get(ctx, contract.Key(g))
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			_, err = r.tidemarks.Create(ctx, contract.Key(g), next)
		case err == nil:
			var have contract.TidemarkSnapshot
			if json.Unmarshal(old.Value(), &have) == nil && have.Sequence >= st.last {
				return nil
			}
			_, err = r.tidemarks.Update(ctx, contract.Key(g), next, old.Revision())
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) && !bus.IsWrongLastSequence(err) {
			return fmt.Errorf("receiver: write a tidemark snapshot: %w", err)
		}
	}
}

// sweep loads the tidemark of every gateway that has an entry in the stream,
// and writes the snapshots that are behind.
func (r *Receiver) sweep(ctx context.Context) error {
	stream, err := r.js.Stream(ctx, contract.StreamDevice)
	if err != nil {
		return fmt.Errorf("receiver: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(contract.SubjectsDevice))
	if err != nil {
		return fmt.Errorf("receiver: list gateways: %w", err)
	}
	for subject := range info.State.Subjects {
		_, g, _, err := protocol.ParseTopic(subject)
		if err != nil {
			continue
		}
		st := r.hold(g)
		err = r.load(ctx, g, st)
		st.mu.Unlock()
		if err != nil {
			return err
		}
	}
	r.snapshot(ctx)
	return nil
}
