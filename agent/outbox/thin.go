package outbox

import (
	"fmt"
	"math"
	"time"

	"tidemark/protocol"
)

const (
	thinChunk  = 128 << 10             // bytes read in a step
	thinStep   = 30 * time.Millisecond // after which a step ends
	thinIdle   = 3                     // times as long as a step took, nothing is thinned after it
	thinSlack  = 0.1                   // of the budget: how far below ThinAt it stops
	thinRanges = 1 << 18               // ranges of lost seqs that may be left: more would make the state too large
)

// thinning is where the outbox is with replacing old telemetry by one scan a
// minute. All of it can be found anew; what replaces what is in the dropped
// messages, and in the state.
//
// Sealed segments are read in order, in short steps. What is gathered of about
// an hour is queued with the dropped message that names what it stands for, all
// in one commit. Then the segments are written again without what is named.
type thinning struct {
	on    bool
	more  bool // there is something to do
	next  time.Time
	pass  *thinner
	ended uint64 // the sealed seqs when all of them had been looked at
}

// keepThin does a step of thinning, if it is due.
func (o *Outbox) keepThin() {
	began := time.Now()
	if o.cfg.ThinAt < 0 || began.Before(o.thin.next) || !o.thinOn() {
		return
	}
	more, err := o.thinSome(began)
	if err != nil {
		o.note(err)
	}
	o.thin.more = more && err == nil
	o.thin.next = time.Now().Add(thinIdle * time.Since(began))
}

// thinOn decides whether to thin: from ThinAt of the budget on, until it is
// somewhat below.
func (o *Outbox) thinOn() bool {
	used, at, t := float64(o.total())/float64(o.cfg.Budget), o.cfg.ThinAt, &o.thin
	switch {
	case !t.on && used >= at:
		t.on = true
		if t.pass == nil {
			t.pass = newThinner(0)
		}
		o.log.Info("outbox thins old telemetry", "dir", o.cfg.Dir, "used", math.Round(used*100)/100)
	case t.on && used < max(at-thinSlack, at/2):
		t.on, t.more = false, false
		next := t.pass.at
		if low := t.pass.holds(); low > 0 { // read again next time
			next = low - 1
		}
		t.pass = newThinner(next)
		o.log.Info("outbox has thinned enough", "dir", o.cfg.Dir, "thinned", o.thinnedCount())
	}
	return t.on
}

func (o *Outbox) thinnedCount() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.thinned
}

// thinWait returns when there is something to do, if nothing else is for wait.
func (o *Outbox) thinWait(wait time.Duration) time.Duration {
	if !o.thin.more || o.Fault() != nil {
		return wait
	}
	return min(wait, max(time.Until(o.thin.next), time.Millisecond))
}

// thinSome does one of: write a segment again, look at some messages, replace
// what was gathered. It returns whether there is more to do.
func (o *Outbox) thinSome(began time.Time) (more bool, err error) {
	t := o.thin.pass
	o.mu.Lock()
	var sealed uint64
	if n := len(o.segments); n > 1 {
		sealed = o.segments[n-2].last
	}
	skip := o.standIns.Clone()
	tooMany := len(o.lost.Ranges()) > thinRanges
	o.mu.Unlock()
	if s := o.loose(sealed); s != nil {
		return true, o.compact(s)
	}
	switch {
	case tooMany:
		return false, nil
	case t.at < sealed:
		got, err := o.Read(t.at, sealed, thinChunk, skip)
		if err != nil {
			return false, err
		}
		if len(got) == 0 {
			t.at = sealed
		}
		for _, s := range got {
			t.take(s, o.Schema)
			if t.due() {
				return true, o.replace(false)
			}
			if time.Since(began) >= thinStep {
				break
			}
		}
		return true, nil
	case o.thin.ended != sealed:
		o.thin.ended = sealed
		return true, o.replace(true)
	}
	return false, nil
}

// replace queues what was gathered and what it stands for, and commits both.
// If that fails they stay pending, and the commit is tried again like any.
func (o *Outbox) replace(end bool) error {
	made, all := o.thin.pass.collect(end)
	for i := range made { // none may be refused half-way
		m := made[i].message
		m.Epoch, m.Seq = math.MaxUint64, math.MaxUint64
		if _, err := m.Encode(); err != nil {
			return nil
		}
	}
	o.mu.Lock()
	seqs := all.seqs.Minus(o.acked).Minus(o.lost).Minus(o.refused)
	if len(made) == 0 || seqs.Empty() {
		o.mu.Unlock()
		return nil
	}
	ticket, err := o.queueStandIns(made, seqs, all)
	o.refused.AddSet(seqs)
	for _, s := range o.segments {
		own := protocol.SetOf(protocol.Range{First: s.first, Last: s.last})
		if in := own.Minus(seqs.Missing(s.first, s.last)); s.first <= s.last && !in.Empty() {
			s.named.AddSet(in)
			s.tight = false
		}
	}
	o.mu.Unlock()
	if err != nil {
		return err
	}
	for {
		select {
		case <-ticket.done:
			return nil
		default:
		}
		if err := o.commitOnce(); err != nil {
			return err
		}
	}
}

// queueStandIns queues messages and, in the same commit, the dropped messages
// that name what they stand for. It returns the last ticket. The caller holds mu.
func (o *Outbox) queueStandIns(made []madeMessage, seqs protocol.Set, all held) (last *Ticket, err error) {
	boot := o.boot
	defer func() { o.boot = boot }()
	put := func(m *protocol.Message, s *protocol.Schema, then func()) error {
		t, err := o.queue(m, s, false)
		if err != nil {
			return fmt.Errorf("outbox: thin: %w", err)
		}
		t.joined, t.then, last = last != nil, then, t
		return nil
	}
	by := protocol.Range{First: o.next, Last: o.next + uint64(len(made)) - 1}
	for i := range made {
		if err := put(&made[i].message, made[i].schema, nil); err != nil {
			return last, err
		}
	}
	text := fmt.Sprintf("The outbox was nearly full; the messages %d to %d hold one scan a minute in place of these.", by.First, by.Last)
	for ranges := seqs.Ranges(); len(ranges) > 0; {
		n := min(len(ranges), maxLostRanges)
		part := protocol.SetOf(ranges[:n]...)
		ranges = ranges[n:]
		d := protocol.Dropped{Ranges: part, Count: part.Count(), Cause: protocol.CauseThinned, Text: text, FromMs: all.from, ToMs: all.to, By: protocol.SetOf(by)}
		m := boot
		m.Type, m.Time, m.Body = protocol.TypeDropped, time.Now().UnixMilli(), d.Encode()
		err := put(&m, nil, func() {
			o.nowLost(&d)
			o.refused = o.refused.Minus(part)
		})
		if err != nil {
			return last, err
		}
	}
	return last, nil
}

// loose returns a segment that may hold much that is acknowledged or given up,
// of those that have been looked at in full; nil if there is none.
func (o *Outbox) loose(sealed uint64) *segment {
	held := o.thin.pass.holds()
	if o.thin.ended == sealed {
		held = 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.segments {
		if s.last > o.thin.pass.at || s.last > sealed || held > 0 && s.last >= held {
			return nil
		}
		if !s.tight && s.err == nil {
			return s
		}
	}
	return nil
}

// compact writes a sealed segment again without what need not be kept, if
// that is an eighth of it at least.
func (o *Outbox) compact(s *segment) error {
	o.mu.Lock()
	open := o.openSeqs(s)
	o.mu.Unlock()
	v := newVictims()
	whole, dead := 0, 0
	err := s.read(s.first, s.last, func(seq, run uint64, data []byte) (bool, error) {
		whole += len(data)
		if !open.Contains(seq) {
			dead += len(data)
			return true, nil
		}
		return true, v.sort(seq, run, data, -1)
	})
	if err != nil {
		o.suspect(s, err)
		return nil
	}
	s.tight = true
	if dead == 0 || dead < whole/8 {
		return nil
	}
	v.kept.schemas = v.schemas(s)
	return o.rewrite(s, v.keep, v.kept)
}
