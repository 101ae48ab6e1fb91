package receiver

import (
	"context"
	"time"

	"tidemark/cloud/broker"
	"tidemark/protocol"
)

// tellRefused tells a gateway which bundle was refused, so that it sends the
// messages in it apart.
func (r *Receiver) tellRefused(ctx context.Context, g protocol.Gateway, st *gateway, p broker.Publish, cause error) error {
	r.metrics.refused.Inc()
	r.log.Warn("a bundle was refused; it is in the dead letters", "site", g.Site, "gateway", g.Name, "bytes", len(p.Payload), "err", cause)
	epoch, err := r.epochOf(ctx, g, st)
	if err != nil || epoch == 0 { // it never said which its epoch is, as a gateway must
		return err
	}
	r.ack(ctx, g, st, &protocol.Ack{Epoch: epoch, Refused: []protocol.Refusal{{
		Bundle: protocol.BundleID(p.Payload), Reason: protocol.ReasonOf(cause), Text: short(cause.Error())}}})
	return nil
}

// epochOf returns the epoch that a gateway has announced, 0 if none is known.
func (r *Receiver) epochOf(ctx context.Context, g protocol.Gateway, st *gateway) (uint64, error) {
	if err := r.load(ctx, g, st); err != nil {
		return 0, err
	}
	if st.epoch != 0 {
		return st.epoch, nil
	}
	have, _, err := r.storedPresence(ctx, g)
	if err != nil || have.Epoch == "" {
		return 0, err
	}
	return protocol.ParseEpoch(have.Epoch)
}

// ack sends the tidemark of an epoch. That it may be lost is harmless: the
// gateway sends again, and hears again.
func (r *Receiver) ack(ctx context.Context, g protocol.Gateway, st *gateway, a *protocol.Ack) {
	a.Committed, a.Time = st.marks.Of(a.Epoch), time.Now().UnixMilli()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := r.sender.Send(ctx, g.AckTopic(), a.Encode()); err != nil {
		r.log.Warn("an ack could not be sent; the gateway will ask again", "site", g.Site, "gateway", g.Name, "err", err)
	}
}
