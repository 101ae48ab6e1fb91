package stream

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// Entry is one committed bundle.
type Entry struct {
	Sequence    uint64 // position in the stream
	Missed      uint64 // positions before it that retention removed before they were read
	Pending     uint64 // bundles behind it in the stream when it was delivered
	Gateway     protocol.Gateway
	Messages    []*protocol.Message // none where only the tidemark moved, over dead letters
	Tidemarks   string              // as the header stands
	SentMs      int64               // the gateway's clock; 0 if it did not say
	ReceivedUs  int64               // the receiver's clock
	CommittedUs int64               // the stream's clock
	Bytes       int                 // as published
}

// Reader reads the device stream.
type Reader struct {
	js      jetstream.JetStream
	log     *slog.Logger
	mu      sync.Mutex
	schemas map[protocol.SchemaID]*protocol.Schema
	kv      jetstream.KeyValue
}

// maxSchemas bounds the cache; a fleet shares few schemas at a time.
const maxSchemas = 20_000

// NewReader returns a Reader; [bus.Bus.Prepare] must have been called.
func NewReader(js jetstream.JetStream, log *slog.Logger) *Reader {
	return &Reader{js: js, log: log, schemas: map[protocol.SchemaID]*protocol.Schema{}}
}

// Run sends every entry behind position after to out, in order, and closes out
// when it returns: with nil once ctx is done. It outlives losses of the
// connection. An entry that does not decode, which the receiver never commits,
// is logged and passed without messages, so that positions go on.
func (r *Reader) Run(ctx context.Context, after uint64, out chan<- *Entry) error {
	defer close(out)
	next := after + 1
	for ctx.Err() == nil {
		err := r.follow(ctx, &next, out)
		if ctx.Err() != nil {
			return nil
		}
		r.log.Warn("reading the device stream was interrupted; it is taken up again", "sequence", next, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

func (r *Reader) follow(ctx context.Context, next *uint64, out chan<- *Entry) error {
	cons, err := r.js.OrderedConsumer(ctx, contract.StreamDevice, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *next})
	if err != nil {
		return err
	}
	it, err := cons.Messages(jetstream.PullMaxBytes(4 << 20))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, it.Stop)()
	defer it.Stop()
	for {
		msg, err := it.Next()
		if err != nil {
			return err
		}
		e, err := r.entry(msg)
		if err != nil {
			return err
		}
		if e.Sequence < *next { // delivered again after a reset
			continue
		}
		e.Missed = e.Sequence - *next
		*next = e.Sequence + 1
		select {
		case out <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Reader) entry(msg jetstream.Msg) (*Entry, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	h := msg.Headers()
	e := &Entry{Sequence: meta.Sequence.Stream, Pending: meta.NumPending, CommittedUs: meta.Timestamp.UnixMicro(), Bytes: len(msg.Data()),
		Tidemarks: h.Get(contract.HeaderTidemark), SentMs: number(h, contract.HeaderSent), ReceivedUs: number(h, contract.HeaderReceived)}
	if _, e.Gateway, _, err = protocol.ParseTopic(msg.Subject()); err == nil && len(msg.Data()) > 0 {
		e.Messages, err = protocol.DecodeBundle(msg.Data())
	}
	if err != nil {
		r.log.Error("an entry of the device stream does not decode; it is passed over", "sequence", e.Sequence, "err", err)
		e.Messages = nil
	}
	return e, nil
}

func number(h nats.Header, key string) int64 {
	n, _ := strconv.ParseInt(h.Get(key), 10, 64) // absent: 0
	return n
}

// Lookup returns a function that finds schemas for [protocol.Message.Telemetry].
// It waits for the bucket as long as ctx allows, so that a passing failure is
// never taken for an unknown schema.
func (r *Reader) Lookup(ctx context.Context) protocol.LookupSchema {
	return func(id protocol.SchemaID) *protocol.Schema {
		r.mu.Lock()
		s := r.schemas[id]
		r.mu.Unlock()
		for wait := 50 * time.Millisecond; s == nil; wait = min(2*wait, 2*time.Second) {
			var err error
			if s, err = r.fetch(ctx, id); errors.Is(err, jetstream.ErrKeyNotFound) || ctx.Err() != nil {
				return nil
			} else if err == nil {
				break
			}
			r.log.Warn("a schema cannot be read; trying again", "schema", id.String(), "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		return s
	}
}

func (r *Reader) fetch(ctx context.Context, id protocol.SchemaID) (*protocol.Schema, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kv == nil {
		kv, err := r.js.KeyValue(ctx, contract.BucketSchemas)
		if err != nil {
			return nil, err
		}
		r.kv = kv
	}
	v, err := r.kv.Get(ctx, hex.EncodeToString(id[:]))
	if err != nil {
		return nil, err
	}
	s, err := protocol.DecodeSchema(v.Value())
	if err != nil {
		return nil, err
	}
	if len(r.schemas) >= maxSchemas {
		clear(r.schemas)
	}
	r.schemas[id] = s
	return s, nil
}
