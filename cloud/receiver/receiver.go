package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"tidemark/cloud/broker"
	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// Sender publishes to one gateway.
type Sender interface {
	Send(ctx context.Context, topic string, payload []byte) error
}

// Config says how the receiver works.
type Config struct {
	Metrics prometheus.Registerer // nil: none
	Log     *slog.Logger
}

// Receiver commits bundles. It is a [broker.Handler].
type Receiver struct {
	js      jetstream.JetStream
	sender  Sender
	log     *slog.Logger
	metrics metrics
	schemas *schemaStore

	presence, tidemarks jetstream.KeyValue

	mu       sync.Mutex
	gateways map[protocol.Gateway]*gateway
}

var _ broker.Handler = (*Receiver)(nil)

// gateway is the cached state of one gateway.
type gateway struct {
	mu       sync.Mutex
	loaded   bool
	marks    protocol.Tidemarks
	last     uint64 // sequence of the newest entry of its subject; 0: none
	dirty    bool   // the snapshot is behind marks
	session  uint64 // of the newest presence
	epoch    uint64 // of the newest presence
	failing  bool   // bundles could not be taken, and that was told
	lastSeen time.Time
}

// New returns a receiver on the streams that [bus.Bus.Prepare] made.
func New(ctx context.Context, cfg Config, js jetstream.JetStream, sender Sender) (*Receiver, error) {
	r := &Receiver{js: js, sender: sender, log: cfg.Log, gateways: map[protocol.Gateway]*gateway{}}
	var err error
	if r.presence, err = js.KeyValue(ctx, contract.BucketPresence); err == nil {
		r.tidemarks, err = js.KeyValue(ctx, contract.BucketTidemarks)
	}
	var schemas jetstream.KeyValue
	if err == nil {
		schemas, err = js.KeyValue(ctx, contract.BucketSchemas)
	}
	if err != nil {
		return nil, fmt.Errorf("receiver: open buckets: %w", err)
	}
	if r.schemas, err = newSchemaStore(ctx, schemas); err != nil {
		return nil, fmt.Errorf("receiver: open buckets: %w", err)
	}
	r.metrics = newMetrics(cfg.Metrics)
	return r, nil
}

// snapshotInterval is how often tidemarks that changed go to their bucket. It
// must be far inside the stream's retention.
const snapshotInterval = time.Minute

// Run writes snapshots of tidemarks until ctx is done. It begins with those
// that a receiver which crashed may have left behind.
func (r *Receiver) Run(ctx context.Context) error {
	if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
		r.log.Warn("the tidemarks in the stream could not all be read; their snapshots are written when their gateways send", "err", err)
	}
	tick := time.NewTicker(snapshotInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.snapshot(ctx)
		}
	}
}

func (r *Receiver) gateway(g protocol.Gateway) *gateway {
	r.mu.Lock()
	defer r.mu.Unlock()
	st, ok := r.gateways[g]
	if !ok {
		st = &gateway{}
		r.gateways[g] = st
	}
	return st
}

// hold returns a gateway's state, locked. One that was forgotten while this
// waited for it is not used: what it would take note of would be lost.
func (r *Receiver) hold(g protocol.Gateway) *gateway {
	for {
		st := r.gateway(g)
		st.mu.Lock()
		if r.gateway(g) == st {
			return st
		}
		st.mu.Unlock()
	}
}

// Bundle commits a bundle and tells its gateway.
func (r *Receiver) Bundle(ctx context.Context, g protocol.Gateway, p broker.Publish) error {
	received := time.Now()
	st := r.hold(g)
	defer st.mu.Unlock()
	st.lastSeen = received
	b, err := r.open(ctx, g, p, received)
	if err == nil {
		err = r.commit(ctx, g, st, b)
	}
	if errors.Is(err, broker.ErrRefused) {
		return errors.Join(err, r.tellRefused(ctx, g, st, p, err))
	}
	r.note(ctx, g, st, err)
	if err != nil {
		return err
	}
	if b.buried > 0 {
		r.log.Warn("messages were refused; they are in the dead letters", "site", g.Site, "gateway", g.Name, "count", b.buried, "err", b.cause)
	}
	r.metrics.duration.Observe(time.Since(received).Seconds())
	r.ack(ctx, g, st, &protocol.Ack{Epoch: b.epoch, Need: b.need, Rejected: b.rejected})
	return nil
}

// note logs when the bundles of a gateway begin to fail, and when they are
// taken again; a gateway sends what failed again every few seconds.
func (r *Receiver) note(ctx context.Context, g protocol.Gateway, st *gateway, err error) {
	if err != nil {
		r.metrics.failed.Inc()
	}
	switch {
	case err != nil && !st.failing && ctx.Err() == nil:
		r.log.Warn("bundles cannot be taken; the gateway sends them again until they can", "site", g.Site, "gateway", g.Name, "err", err)
		st.failing = true
	case err == nil && st.failing:
		r.log.Info("bundles are taken again", "site", g.Site, "gateway", g.Name)
		st.failing = false
	}
}

// Presence records that a gateway came or went, and answers a birth with the
// tidemark, so that the gateway sends nothing twice.
func (r *Receiver) Presence(ctx context.Context, g protocol.Gateway, payload []byte) {
	if err := r.takePresence(ctx, g, payload); err != nil && ctx.Err() == nil {
		r.log.Warn("a presence was not recorded", "site", g.Site, "gateway", g.Name, "err", err)
	}
}

func (r *Receiver) takePresence(ctx context.Context, g protocol.Gateway, payload []byte) error {
	var p protocol.Presence
	if err := protocol.Unmarshal(payload, &p); err != nil {
		return err
	}
	if p.Gateway != "" && p.Gateway != g.String() {
		return fmt.Errorf("receiver: it names gateway %.130q, its topic %s", p.Gateway, g)
	}
	st := r.hold(g)
	defer st.mu.Unlock()
	if err := r.recordPresence(ctx, g, st, &p); err != nil {
		return err
	}
	if !p.Online {
		return nil
	}
	if err := r.load(ctx, g, st); err != nil {
		return err
	}
	st.epoch = p.Epoch
	r.ack(ctx, g, st, &protocol.Ack{Epoch: p.Epoch})
	return nil
}

// load reads the gateway's tidemarks from the newest entry of its subject, or,
// if retention has removed that, from the snapshot.
func (r *Receiver) load(ctx context.Context, g protocol.Gateway, st *gateway) error {
	if st.loaded {
		return nil
	}
	stream, err := r.js.Stream(ctx, contract.StreamDevice)
	if err != nil {
		return fmt.Errorf("receiver: %w", err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, g.UpSubject())
	var text string
	switch {
	case err == nil:
		st.last, text = msg.Sequence, msg.Header.Get(contract.HeaderTidemark)
	case errors.Is(err, jetstream.ErrMsgNotFound):
		st.last = 0
		if text, err = r.loadSnapshot(ctx, g); err != nil {
			return err
		}
	default:
		return fmt.Errorf("receiver: read the tidemark of %s: %w", g, err)
	}
	if st.marks, err = protocol.ParseTidemarks(text); err != nil {
		return fmt.Errorf("receiver: the tidemark of %s at sequence %d is damaged: %w", g, st.last, err)
	}
	st.loaded, st.dirty = true, st.last != 0 // whoever appended it may have crashed before the snapshot
	return nil
}

// commit leaves out what is in the stream already and appends the rest, until
// it is in or cannot be.
func (r *Receiver) commit(ctx context.Context, g protocol.Gateway, st *gateway, b *bundle) error {
	for {
		if err := r.load(ctx, g, st); err != nil {
			return err
		}
		payload, seqs, err := b.without(st.marks.Of(b.epoch))
		if err != nil {
			return err
		}
		r.metrics.duplicates.Add(float64(b.seqs.Count() - seqs.Count()))
		if seqs.Empty() {
			return nil
		}
		covered := seqs.Clone()
		covered.AddSet(b.lost)
		marks := st.marks.With(b.epoch, covered)
		if n := len(marks[0].Committed.Ranges()); n > protocol.MaxRanges/2 {
			return fmt.Errorf("receiver: the tidemark of %s has %d ranges; the gateway must first send what is missing between them", g, n)
		}
		ack, err := r.publish(ctx, g, b, payload, marks, st.last)
		if bus.IsWrongLastSequence(err) {
			r.metrics.races.Inc()
			st.loaded = false
			continue
		}
		if err != nil {
			st.loaded = false // it may be in nevertheless
			return fmt.Errorf("receiver: append to the stream: %w", err)
		}
		st.marks, st.last, st.dirty = marks, ack.Sequence, true
		r.metrics.committed.Add(float64(seqs.Count()))
		r.metrics.bytes.Add(float64(len(payload)))
		return nil
	}
}

func (r *Receiver) publish(ctx context.Context, g protocol.Gateway, b *bundle, payload []byte, marks protocol.Tidemarks, last uint64) (*jetstream.PubAck, error) {
	msg := nats.NewMsg(g.UpSubject())
	msg.Data = payload
	msg.Header.Set(contract.HeaderTidemark, marks.String())
	msg.Header.Set(contract.HeaderReceived, strconv.FormatInt(b.received.UnixMicro(), 10))
	if b.sentMs != 0 {
		msg.Header.Set(contract.HeaderSent, strconv.FormatInt(b.sentMs, 10))
	}
	if b.traceparent != "" {
		msg.Header.Set(contract.HeaderTraceparent, b.traceparent)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return r.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(last))
}
