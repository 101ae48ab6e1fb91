package trace

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// letter is a dead letter: what the receiver did not accept.
type letter struct {
	sequence uint64 // in the stream of dead letters
	gateway  protocol.Gateway
	kind     protocol.Type
	epoch    uint64 // 0 if it is not known
	seqs     protocol.Set
	reason   string
	text     string
	bytes    int
	received int64 // microseconds since the Unix epoch; 0 if it is not said
	timeUs   int64 // the stream's clock
}

// readLetters sends every dead letter behind a position to out. It outlives
// losses of the connection.
func (s *Service) readLetters(ctx context.Context, after uint64, out chan<- *letter) {
	next := after + 1
	for ctx.Err() == nil {
		err := s.followLetters(ctx, &next, out)
		if ctx.Err() != nil {
			return
		}
		s.cfg.Log.Warn("reading the dead letters was interrupted; it is taken up again", "sequence", next, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *Service) followLetters(ctx context.Context, next *uint64, out chan<- *letter) error {
	cons, err := s.js.OrderedConsumer(ctx, contract.StreamDead, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{contract.SubjectsDead}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *next})
	if err != nil {
		return err
	}
	it, err := cons.Messages()
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
		l, err := parseLetter(msg)
		if err != nil {
			return err
		}
		if l.sequence < *next {
			continue
		}
		*next = l.sequence + 1
		select {
		case out <- l:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func parseLetter(msg jetstream.Msg) (*letter, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	h := msg.Headers()
	l := &letter{sequence: meta.Sequence.Stream, timeUs: meta.Timestamp.UnixMicro(), bytes: len(msg.Data()),
		reason: clip(h.Get(contract.HeaderReason)), text: clip(h.Get(contract.HeaderText))}
	l.received, _ = strconv.ParseInt(h.Get(contract.HeaderReceived), 10, 64) // absent: 0
	// What the headers do not say, or say wrongly, is not known; the letter stays a letter.
	l.epoch, _ = protocol.ParseEpoch(h.Get(contract.HeaderEpoch))
	l.seqs, _ = protocol.ParseSet(h.Get(contract.HeaderSeqs))
	l.kind = unknownType
	if t, ok := protocol.ParseType(h.Get(contract.HeaderType)); ok {
		l.kind = t
	}
	if p := strings.Split(msg.Subject(), "."); len(p) == 4 && protocol.ValidName(p[2]) && protocol.ValidName(p[3]) {
		l.gateway = protocol.Gateway{Site: p[2], Name: p[3]}
	}
	return l, nil
}

// unknownType stands for the type of a letter that does not say one.
const unknownType protocol.Type = 255

// takeLetter makes a row of a dead letter. The receiver may say one twice,
// when it was killed before its ack; the second adds nothing.
func (k *keeper) takeLetter(l *letter) {
	k.metrics.letters.Inc()
	k.pos.Platform, k.batch.moved = l.sequence, true
	if l.gateway == (protocol.Gateway{}) {
		return
	}
	g := k.gateway(l.gateway)
	if l.epoch != 0 && !l.seqs.Empty() {
		k.mu.Lock()
		lost := g.epoch(l.epoch)
		twice := l.seqs.Minus(lost.Dead.Set).Empty()
		lost.Dead.AddSet(l.seqs)
		k.mu.Unlock()
		k.batch.dirty[g] = true
		if twice {
			return
		}
	}
	r := &row{gateway: g, kind: l.kind, epoch: l.epoch, code: protocol.Rejected, reason: l.reason, text: l.text,
		receivedUs: l.received, committedUs: l.timeUs}
	r.add(item{seqs: l.seqs, timeMs: l.timeUs / 1000, bytes: l.bytes})
	k.number(r)
}
