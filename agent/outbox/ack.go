package outbox

import (
	"errors"
	"fmt"
	"os"

	"tidemark/protocol"
)

// Ack takes note of seqs of this epoch that the cloud has durably committed.
// Only this makes the outbox delete: Run removes a segment once all its seqs
// are acknowledged. Seqs that were never published are refused: an ack for
// them can only be meant for another outbox. After a crash the cloud may have
// to acknowledge anew what was not yet saved.
func (o *Outbox) Ack(committed protocol.Set) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	if top := committed.Max(); top > o.head {
		return fmt.Errorf("outbox: an ack up to %d, but only %d were committed here: it is meant for another gateway, or for an older copy of this data folder", top, o.head)
	}
	o.acked.AddSet(committed)
	o.ackDirty = true
	o.kick()
	return nil
}

// Acked returns the acknowledged seqs; with them, those given up before the
// oldest that is kept.
func (o *Outbox) Acked() protocol.Set {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.acked.Clone()
}

// tend does Run's work beside committing: little while commits fail.
func (o *Outbox) tend(failing bool) {
	o.deleteAcked()
	if failing {
		return
	}
	o.repair()
	o.keepBudget()
	o.keepThin()
	o.keepReserve()
}

// deleteAcked removes the sealed segments that hold nothing more to send.
func (o *Outbox) deleteAcked() {
	o.mu.Lock()
	var done []*segment
	if o.ackDirty {
		o.ackDirty = false
		all := o.acked.Clone()
		all.AddSet(o.lost)
		for _, s := range o.segments {
			if (o.active == nil || s != o.active.seg) && s.first <= s.last && all.ContainsAll(s.first, s.last) {
				done = append(done, s)
			}
		}
	}
	o.mu.Unlock()
	if len(done) == 0 {
		return
	}
	// What was acknowledged must be on the disk before a segment goes: seqs that
	// are missing without a known reason would be reported as lost.
	if err := o.saveMeta(false, 0); err != nil {
		o.retryAck(err)
		return
	}
	for _, s := range done {
		if err := o.remove(s); err != nil {
			o.retryAck(err)
			return
		}
	}
}

// retryAck has deletion tried again with the next ack.
func (o *Outbox) retryAck(err error) {
	o.log.Warn("outbox cannot remove acknowledged segments yet", "dir", o.cfg.Dir, "err", err)
	o.mu.Lock()
	o.ackDirty = true
	o.mu.Unlock()
}

// remove deletes a segment's file and forgets the segment.
func (o *Outbox) remove(s *segment) error {
	if o.saved.Active == s.first { // or it would be missed after a crash
		o.saved.Active = 0
		if err := o.saveMeta(false, 0); err != nil {
			return err
		}
	}
	s.use.Lock()
	err := os.Remove(s.path)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		s.gone, err = true, nil
	}
	s.use.Unlock()
	if err != nil {
		return fmt.Errorf("outbox: remove segment: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, t := range o.segments {
		if t == s {
			o.segments = append(o.segments[:i:i], o.segments[i+1:]...)
			break
		}
	}
	return nil
}
