package link

import (
	"time"

	"tidemark/protocol"
)

// apart is what the cloud refused, on the way to finding the message that is to
// blame. A bundle that is refused comes back as two halves, each of which goes
// out in a bundle of its own, down to a single message. That one is suspected,
// and given up once the cloud has committed something else since: a cloud that
// refuses all that it gets is at fault itself, and nothing is given up for it.
type apart struct {
	groups    []protocol.Set // each to be sent in a bundle of its own
	suspects  []suspect
	aside     protocol.Set // all of these, those given up, and those that stay unsent in this run
	streak    int          // bundles refused since one was committed
	pause     time.Duration
	notBefore time.Time // nothing is sent until then
	orphans   map[protocol.SchemaID]bool
}

// suspect is a message that was refused by itself.
type suspect struct {
	seqs         protocol.Set // one seq
	reason, text string
}

// A run of refusals in which nothing is committed is taken for a fault of the
// cloud once it is this long: no bundle takes more to be taken apart, since it
// halves each time. From then on there are pauses.
const (
	maxStreak      = 20
	maxRefusePause = 30 * time.Second
)

// again has the messages of a bundle that got lost on the way sent again, by
// themselves if they were sent so.
func (a *apart) again(b *sent) {
	if b.apart {
		a.push(b.seqs)
	}
}

func (a *apart) push(seqs protocol.Set) {
	a.groups = append(a.groups, seqs)
	a.aside.AddSet(seqs)
}

// halves returns two sets that together are s, each with half of its seqs.
func halves(s protocol.Set) (low, high protocol.Set) {
	left := s.Count() / 2
	for _, r := range s.Ranges() {
		n := min(left, r.Count())
		if n > 0 {
			low.Add(r.First, r.First+n-1)
		}
		if n < r.Count() {
			high.Add(r.First+n, r.Last)
		}
		left -= n
	}
	return low, high
}

// hearRefused takes apart bundles that the cloud refused as a whole.
func (l *Link) hearRefused(refused []protocol.Refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range refused {
		b := l.flight.take(r.Bundle)
		if b == nil {
			continue // it was not acknowledged in time and is sent again already, or it is another's
		}
		if l.apart.streak++; !b.apart && l.apart.streak < maxStreak {
			l.cfg.Log.Warn("the cloud refused a bundle; its messages are sent apart, to find the one that is to blame",
				"seq", b.seqs.String(), "reason", r.Reason, "err", r.Text)
		}
		l.forgetSent(b.schemas) // those that it brought were refused with it
		l.takeApart(b, r)
	}
}

func (l *Link) takeApart(b *sent, r protocol.Refusal) {
	a := &l.apart
	if a.streak >= maxStreak {
		l.refusesAll(b, r)
		return
	}
	a.aside = a.aside.Minus(b.seqs)
	left := b.seqs.Minus(l.store.Acked())
	switch {
	case left.Empty():
	case left.Count() > 1:
		low, high := halves(left)
		a.push(low)
		a.push(high)
	case b.dropped:
		a.aside.AddSet(left) // another dropped message for it would be refused as well
		l.cfg.Log.Error("the cloud refuses a message that names lost ones; it stays in the outbox, and is tried again when the agent starts again",
			"seq", left.Min(), "reason", r.Reason, "err", r.Text)
	default:
		a.suspects = append(a.suspects, suspect{left, r.Reason, r.Text})
		a.aside.AddSet(left)
	}
}

// refusesAll returns all to where it came from, and pauses.
func (l *Link) refusesAll(b *sent, r protocol.Refusal) {
	a := &l.apart
	if a.streak == maxStreak {
		l.cfg.Log.Error("the cloud refuses everything; nothing is given up, and the outbox keeps it until the cloud takes bundles again",
			"count", a.streak, "reason", r.Reason, "err", r.Text)
	}
	a.aside = a.aside.Minus(b.seqs)
	for _, g := range a.groups {
		a.aside = a.aside.Minus(g)
	}
	for _, s := range a.suspects {
		a.aside = a.aside.Minus(s.seqs)
	}
	a.groups, a.suspects = nil, nil
	if now := time.Now(); now.After(a.notBefore) { // else it was in flight when the pause began
		a.pause = min(max(2*a.pause, minBackoff), maxRefusePause)
		a.notBefore = now.Add(a.pause)
	}
}

// hearTaken hears that the cloud committed a bundle: what it refused by itself
// is to blame for that itself. l.mu is held.
func (l *Link) hearTaken() {
	a := &l.apart
	if a.streak >= maxStreak {
		l.cfg.Log.Info("the cloud takes bundles again", "count", a.streak)
	}
	a.streak, a.pause, a.notBefore = 0, 0, time.Time{}
	a.aside = a.aside.Minus(l.store.Acked())
	for _, s := range a.suspects {
		l.giveUp(s.seqs, protocol.CauseRefused, "The cloud refuses it ("+s.reason+"); what it got is in its dead letters. It says: "+s.text)
	}
	a.suspects = nil
	if l.late {
		l.late = false
		l.cfg.Log.Info("bundles are acknowledged in time again")
	}
}

// giveUp names seqs as lost and sends them no more. l.mu is held.
func (l *Link) giveUp(seqs protocol.Set, cause, text string) {
	l.apart.aside.AddSet(seqs)
	if err := l.store.GiveUp(seqs, cause, text); err != nil {
		l.cfg.Log.Error("a message that cannot be delivered was not given up; it stays in the outbox", "seq", seqs.String(), "err", err)
		return
	}
	l.cfg.Log.Error("a message cannot be delivered; it is named as lost", "seq", seqs.String(), "cause", cause, "err", text)
}

// nextApart returns the next part of what was refused. skip holds all that is
// not to be sent otherwise. l.mu is held.
func (l *Link) nextApart(raw int, skip protocol.Set) *pending {
	a := &l.apart
	for len(a.groups) > 0 {
		last := len(a.groups) - 1
		group := a.groups[last].Minus(l.store.Acked()).Minus(l.flight.seqs)
		a.groups = a.groups[:last]
		if group.Empty() {
			continue
		}
		others := skip.Clone()
		others.AddSet(protocol.SetOf(protocol.Range{First: group.Min(), Last: group.Max()}))
		b := l.read(group.Min()-1, group.Max(), raw, others.Minus(group), false)
		if b == nil { // given up by the outbox meanwhile, or waiting for a repair
			a.aside = a.aside.Minus(group)
			continue
		}
		b.apart = true
		if rest := group.Minus(b.seqs); !rest.Empty() {
			a.push(rest)
		}
		return b
	}
	return nil
}

// split halves a part that is too large for one bundle.
func (l *Link) split(b *pending) {
	if !b.apart {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	low, high := halves(b.seqs)
	l.apart.push(low)
	l.apart.push(high)
}

// missSchemas notes the schemas that the cloud asks for and the outbox lacks,
// since a damaged segment took them: what needs them can be read by nobody.
// l.mu is held.
func (l *Link) missSchemas(need map[protocol.SchemaID]bool) {
	for id := range need {
		if l.store.Schema(id) != nil {
			continue
		}
		if l.apart.orphans == nil {
			l.apart.orphans = map[protocol.SchemaID]bool{}
		}
		l.apart.orphans[id] = true
	}
}

// leaveOrphans takes the messages out of a bundle whose schema is lost, and
// names them.
func (l *Link) leaveOrphans(b *pending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.apart.orphans) == 0 {
		return
	}
	var lost protocol.Set
	kept := b.messages[:0]
	for _, m := range b.messages {
		id, err := m.SchemaOf()
		if m.Type == protocol.TypeTelemetry && err == nil && l.apart.orphans[id] && l.store.Schema(id) == nil {
			lost.Add(m.Seq, m.Seq)
			continue
		}
		kept = append(kept, m)
	}
	if lost.Empty() {
		return
	}
	b.messages, b.seqs = kept, b.seqs.Minus(lost)
	l.giveUp(lost, protocol.CauseCorrupt, "The schema that they need is lost here, and the cloud does not have it.")
}
