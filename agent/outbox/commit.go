package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"tidemark/protocol"
)

const (
	maxBatch   = 1 << 20 // bytes in one commit, so that many small flushes and one large one take turns
	retryFirst = 100 * time.Millisecond
	retryMax   = 5 * time.Second
	retryBatch = 64 << 10 // while commits fail: what room there is may be small
)

// Run commits what is pending, at the latest Config.CommitInterval after it
// was appended; deletes acknowledged segments; repairs damaged ones; thins old
// telemetry; and keeps to the budget. When ctx ends it commits what is pending and returns nil, or
// why that was not possible. Failing commits are tried again for as long as
// Run runs.
func (o *Outbox) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var r retry
	for ctx.Err() == nil {
		if wait := o.step(&r); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
			case <-o.wake:
			case <-timer.C:
			}
		}
	}
	return o.stop()
}

// retry spaces out the tries while commits fail.
type retry struct {
	delay     time.Duration
	notBefore time.Time
}

// step does what is due and returns how long there is nothing to do.
func (o *Outbox) step(r *retry) time.Duration {
	o.io.Lock()
	defer o.io.Unlock()
	o.tend(time.Now().Before(r.notBefore))
	wait := o.due()
	if wait < 0 {
		return o.thinWait(time.Hour)
	}
	if wait = max(wait, time.Until(r.notBefore)); wait > 0 {
		return o.thinWait(wait)
	}
	err := o.commitOnce()
	o.note(err)
	if err == nil {
		*r = retry{}
		return 0
	}
	if isDiskFull(err) {
		o.makeRoom()
	}
	r.delay = min(max(2*r.delay, retryFirst), retryMax)
	r.notBefore = time.Now().Add(r.delay)
	return r.delay
}

// stop commits the rest when Run ends.
func (o *Outbox) stop() error {
	o.io.Lock()
	defer o.io.Unlock()
	if err := o.drain(); err != nil {
		return fmt.Errorf("outbox: stop: %w", err)
	}
	return nil
}

// drain commits all that is pending.
func (o *Outbox) drain() error {
	for {
		o.mu.Lock()
		n := len(o.pending)
		o.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := o.commitOnce(); err != nil {
			return err
		}
	}
}

// due returns how long it is until a commit is due, 0 if now, negative if
// nothing is pending.
func (o *Outbox) due() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(o.pending) == 0:
		return -1
	case o.urgent || o.pendingBytes >= o.cfg.CommitBytes:
		return 0
	}
	return max(0, o.cfg.CommitInterval-time.Since(o.pendingSince))
}

// note keeps the outcome of a commit, and logs when it changes.
func (o *Outbox) note(err error) {
	o.mu.Lock()
	before := o.fault
	o.fault = err
	pending := len(o.pending)
	o.mu.Unlock()
	switch {
	case err != nil && before == nil:
		o.log.Error("outbox cannot commit, holding messages back", "dir", o.cfg.Dir, "pending", pending, "disk_full", isDiskFull(err), "err", err)
	case err == nil && before != nil:
		o.log.Info("outbox commits again", "dir", o.cfg.Dir, "after_err", before.Error())
	}
}

// isDiskFull also looks at the text, since bbolt does not wrap every error.
func isDiskFull(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, errDiskFull} {
		if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}

// commitOnce commits one batch from the front of what is pending. A batch
// that fails stays pending, with its seqs.
func (o *Outbox) commitOnce() error {
	o.mu.Lock()
	batch := o.nextBatch()
	o.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	last := batch[len(batch)-1].seq
	if o.active == nil {
		if err := o.newActive(batch[0].seq); err != nil {
			return err
		}
	}
	if last > o.saved.Reserve {
		if err := o.saveMeta(false, last); err != nil {
			return err
		}
	}
	size, err := o.write(batch)
	if err != nil {
		return o.writeFailed(err)
	}
	o.committed(batch, size)
	if size >= o.cfg.SegmentBytes {
		return o.sealActive()
	}
	return nil
}

// writeFailed leaves the active segment unless the disk is merely full: after
// a failed flush nobody knows what of the file is on the disk. It is repaired
// from what can be read of it, and a new one begins.
func (o *Outbox) writeFailed(err error) error {
	err = fmt.Errorf("outbox: commit: %w", err)
	if isDiskFull(err) {
		return err
	}
	seg := o.active.seg
	o.active = nil
	seg.use.Lock()
	db := seg.db
	seg.db = nil
	seg.use.Unlock()
	if cerr := guard(db.Close); cerr != nil {
		o.log.Warn("outbox leaves a segment that it cannot close", "path", seg.path, "err", cerr)
	}
	if seg.last < seg.first {
		return errors.Join(err, o.remove(seg))
	}
	o.suspect(seg, err)
	return err
}

func (o *Outbox) nextBatch() []*Ticket {
	bytes := 0
	limit := min(maxBatch, int(o.cfg.SegmentBytes/2))
	if o.fault != nil {
		limit = retryBatch
	}
	for i, t := range o.pending {
		bytes += len(t.data)
		if bytes > limit && i > 0 && !t.joined {
			return o.pending[:i:i]
		}
	}
	return o.pending[:len(o.pending):len(o.pending)]
}

// committed publishes a batch that is on the disk.
func (o *Outbox) committed(batch []*Ticket, size int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := batch[len(batch)-1].seq
	o.head = last
	seg := o.segments[len(o.segments)-1]
	seg.last, seg.bytes = last, size
	for _, t := range batch {
		o.pendingBytes -= len(t.data)
		if t.then != nil {
			t.then()
		}
		close(t.done)
	}
	o.pending = o.pending[len(batch):]
	if len(o.pending) == 0 {
		o.pending, o.urgent = nil, false
	} else {
		o.pendingSince = time.Now()
	}
	close(o.changed)
	o.changed = make(chan struct{})
	close(o.room)
	o.room = make(chan struct{})
}

// Schema returns a schema that a kept message names; nil if it is not known.
func (o *Outbox) Schema(id protocol.SchemaID) *protocol.Schema {
	o.mu.Lock()
	s := o.schemas[id]
	segments := append([]*segment(nil), o.segments...)
	o.mu.Unlock()
	if s != nil {
		return s
	}
	for i := len(segments) - 1; i >= 0; i-- {
		if s = segments[i].schema(id); s != nil {
			o.mu.Lock()
			o.schemas[id] = s
			o.mu.Unlock()
			return s
		}
	}
	return nil
}
