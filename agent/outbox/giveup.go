package outbox

import "tidemark/protocol"

// GiveUp names messages that can never be delivered as lost, for a cause and
// with one sentence for a person. They stay readable until the dropped message
// that names them is committed; a crash before that forgets that they were
// given up. What is acknowledged, lost or given up already, or was never
// committed, is left out.
func (o *Outbox) GiveUp(seqs protocol.Set, cause, text string) error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return ErrClosed
	}
	never := protocol.SetOf(protocol.Range{First: o.head + 1, Last: ^uint64(0)})
	open := seqs.Minus(never).Minus(o.acked).Minus(o.lost).Minus(o.refused)
	o.refused.AddSet(open)
	o.mu.Unlock()
	if open.Empty() {
		return nil
	}
	from, to := o.timesOf(open)
	o.reportLost(open, cause, text, from, to)
	return nil
}

// timesOf returns the times of the first and the last of seqs, 0 where they cannot be read.
func (o *Outbox) timesOf(seqs protocol.Set) (from, to int64) {
	at := func(seq uint64) int64 {
		if m, err := o.Read(seq-1, seq, 1, protocol.Set{}); err == nil && len(m) == 1 {
			return m[0].Time
		}
		return 0
	}
	return at(seqs.Min()), at(seqs.Max())
}
