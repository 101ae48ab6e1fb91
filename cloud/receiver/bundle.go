package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tidemark/cloud/broker"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// bundle is a payload that has been checked.
type bundle struct {
	payload     []byte // as published; nil once messages were taken out of it
	epoch       uint64
	messages    []*protocol.Message         // that are to be committed, without schemas
	seqs        protocol.Set                // of messages and rejected: what the tidemark will cover
	lost        protocol.Set                // named by dropped messages: they never come, and the tidemark covers them too
	bad         map[protocol.SchemaID]error // schemas that came with it and are none
	need        [][]byte                    // schemas that are not known
	find        protocol.LookupSchema
	rejected    []protocol.Rejection
	buried      int   // messages that went to the dead letters
	cause       error // why the first of them did
	traceparent string
	sentMs      int64
	received    time.Time
}

// open decodes a payload and checks each of its messages. Those that cannot
// be accepted are dead letters when it returns; those that lack a schema are left out.
func (r *Receiver) open(ctx context.Context, g protocol.Gateway, p broker.Publish, received time.Time) (*bundle, error) {
	msgs, err := protocol.DecodeBundle(p.Payload)
	if err != nil {
		return nil, r.refuse(ctx, g, p, err)
	}
	b := &bundle{payload: p.Payload, traceparent: traceparent(p.Traceparent), sentMs: p.SentMs, received: received}
	var failed func() error
	b.find, failed = r.schemas.finder(ctx)
	for _, m := range msgs {
		if m.Type == protocol.TypeSchema {
			if err := r.takeSchema(ctx, g, b, m); err != nil {
				return nil, err
			}
		}
	}
	if err := protocol.CheckReadings(msgs, b.find); err != nil {
		return nil, r.refuse(ctx, g, p, err)
	}
	for _, m := range msgs {
		if m.Type == protocol.TypeSchema {
			continue
		}
		if err := r.admit(ctx, g, b, m); err != nil {
			return nil, err
		}
	}
	return b, failed() // a lookup that failed looks like an unknown schema
}

// refuse keeps a bundle that cannot be accepted as a whole. A schema that
// could not be looked up is no reason: it is checked before.
func (r *Receiver) refuse(ctx context.Context, g protocol.Gateway, p broker.Publish, cause error) error {
	if dead := r.deadBundle(ctx, g, p, cause); dead != nil {
		return dead
	}
	return fmt.Errorf("receiver: %w: %w", broker.ErrRefused, cause)
}

// takeSchema stores a schema. One that is no schema is a dead letter, and so
// is what needs it: asking for it again would never end.
func (r *Receiver) takeSchema(ctx context.Context, g protocol.Gateway, b *bundle, m *protocol.Message) error {
	schema, err := protocol.DecodeSchema(m.Body)
	if err == nil {
		return r.schemas.put(ctx, schema)
	}
	if b.bad == nil {
		b.bad = map[protocol.SchemaID]error{}
	}
	b.bad[protocol.IDOf(m.Body)] = err
	b.noteBuried(err)
	return r.dead(ctx, g, m.Body, err, map[string]string{contract.HeaderType: m.Type.String()})
}

// admit sorts one message: to be committed, dead, or waiting for its schema.
func (r *Receiver) admit(ctx context.Context, g protocol.Gateway, b *bundle, m *protocol.Message) error {
	if b.epoch == 0 {
		b.epoch = m.Epoch
	}
	err := check(g, b, m)
	switch {
	case err == nil:
		b.messages = append(b.messages, m)
	case errors.Is(err, protocol.ErrUnknownSchema):
		id, idErr := m.SchemaOf()
		if idErr != nil {
			return idErr
		}
		if bad := b.bad[id]; bad != nil {
			return r.bury(ctx, g, b, m, bad)
		}
		b.payload = nil
		b.ask(id)
		return nil
	default:
		return r.bury(ctx, g, b, m, err)
	}
	b.seqs.AddSet(m.Seqs())
	return nil
}

// bury makes a message a dead letter, which the tidemark will cover.
func (r *Receiver) bury(ctx context.Context, g protocol.Gateway, b *bundle, m *protocol.Message, cause error) error {
	if err := r.deadMessage(ctx, g, m, cause); err != nil {
		return err
	}
	b.noteBuried(cause)
	b.payload = nil
	if m.Epoch != b.epoch {
		return nil // its epoch is not this bundle's: no tidemark covers it
	}
	for _, s := range m.Seqs().Ranges() {
		b.reject(s, cause)
	}
	b.seqs.AddSet(m.Seqs())
	return nil
}

func (b *bundle) noteBuried(cause error) {
	if b.buried++; b.cause == nil {
		b.cause = cause
	}
}

// The most that an ack says besides the tidemark: it must stay one that a
// gateway takes. What is asked for next time is no less asked for.
const (
	maxNeed     = 256
	maxRejected = 64
)

// ask has the gateway send a schema.
func (b *bundle) ask(id protocol.SchemaID) {
	if len(b.need) < maxNeed && !slices.ContainsFunc(b.need, func(have []byte) bool { return bytes.Equal(have, id[:]) }) {
		b.need = append(b.need, id[:])
	}
}

// reject tells the gateway of seqs that are dead letters. Of more than fit, the
// last entry tells the range; the dead letters have each.
func (b *bundle) reject(s protocol.Range, cause error) {
	reason := protocol.ReasonOf(cause)
	if n := len(b.rejected); n > 0 && (n == maxRejected || b.rejected[n-1].Reason == reason && b.rejected[n-1].Last+1 == s.First) {
		b.rejected[n-1].Last = max(b.rejected[n-1].Last, s.Last)
		return
	}
	b.rejected = append(b.rejected, protocol.Rejection{First: s.First, Last: s.Last, Reason: reason, Text: short(cause.Error())})
}

// check decodes all of a message that anyone downstream will.
func check(g protocol.Gateway, b *bundle, m *protocol.Message) error {
	if m.Epoch != b.epoch {
		return &protocol.Error{Reason: protocol.ReasonMismatch, Where: "bundle", Err: errors.New("messages of two epochs in one bundle")}
	}
	if seqs := m.Seqs(); seqs.Minus(b.seqs).Count() != seqs.Count() {
		return &protocol.Error{Reason: protocol.ReasonMismatch, Where: "bundle", Err: fmt.Errorf("seqs %s stand twice", seqs)}
	}
	var body any
	switch m.Type {
	case protocol.TypeTelemetry:
		_, err := m.Telemetry(b.find)
		return err
	case protocol.TypeHeartbeat:
		hb := new(protocol.Heartbeat)
		if err := protocol.Unmarshal(m.Body, hb); err != nil {
			return err
		}
		if hb.Gateway != "" && hb.Gateway != g.String() {
			return &protocol.Error{Reason: protocol.ReasonWrongGateway, Where: "heartbeat", Err: fmt.Errorf("it names gateway %.130q, its topic %s", hb.Gateway, g)}
		}
		return nil
	case protocol.TypeDropped:
		return b.drop(m)
	case protocol.TypeClock:
		body = new(protocol.Clock)
	case protocol.TypeOutage:
		body = new(protocol.Outage)
	case protocol.TypeEvent:
		body = new(protocol.Event)
	case protocol.TypeReply:
		body = new(any)
	default:
		return &protocol.Error{Reason: protocol.ReasonUnknownType, Where: "message", Err: fmt.Errorf("type %d is not known to this version", m.Type)}
	}
	return protocol.Unmarshal(m.Body, body)
}

// drop takes note of what a dropped message names. The tidemark covers that
// too, so that a gateway which once gave up much does not for ever carry the
// gaps; it can only be what came before the message.
func (b *bundle) drop(m *protocol.Message) error {
	var d protocol.Dropped
	if err := protocol.Unmarshal(m.Body, &d); err != nil {
		return err
	}
	if d.Ranges.Max() >= m.Seq {
		return &protocol.Error{Reason: protocol.ReasonMismatch, Where: "dropped", Err: fmt.Errorf("seq %d, which it names, is not before its own seq %d", d.Ranges.Max(), m.Seq)}
	}
	b.lost.AddSet(d.Ranges)
	return nil
}

// without returns the payload with what is not in have, and its seqs. Rejected
// seqs are in no payload, and are covered once something is appended.
func (b *bundle) without(have protocol.Set) ([]byte, protocol.Set, error) {
	fresh := b.seqs.Minus(have)
	if b.payload != nil && fresh.Equal(b.seqs) {
		return b.payload, fresh, nil
	}
	if fresh.Empty() {
		return nil, fresh, nil
	}
	var rest []*protocol.Message
	for _, m := range b.messages {
		left, err := m.Without(have, b.find)
		if err != nil {
			return nil, fresh, err
		}
		rest = append(rest, left...)
	}
	if len(rest) == 0 { // only dead letters are new: an entry without messages carries the tidemark
		return nil, fresh, nil
	}
	payload, err := protocol.EncodeBundle(rest)
	return payload, fresh, err
}

// short bounds a sentence that ends up in an ack.
func short(s string) string {
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "")
	}
	return s
}

// traceparent passes on what has the form of W3C Trace Context section 3.2.2,
// and nothing else: it ends up in a header.
func traceparent(s string) string {
	if len(s) != 55 {
		return ""
	}
	for i, c := range []byte(s) {
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if dash := i == 2 || i == 35 || i == 52; dash != (c == '-') || !dash && !hex {
			return ""
		}
	}
	return s
}
