package outbox

import (
	"errors"
	"maps"
	"slices"

	"tidemark/protocol"
)

// group returns the group of a schema; nil if no schema can stand in for it.
func (t *thinner) group(s *protocol.Schema) *thinGroup {
	if g := t.groups[s.ID()]; g != nil {
		return g
	}
	w, known := t.known[s.ID()]
	if !known {
		w = widen(s)
		t.known[s.ID()] = w
	}
	if w == nil {
		return nil
	}
	g := &thinGroup{w: w, builder: protocol.NewBuilder(w.schema), tail: map[int64]*minute{},
		times: make([]int64, len(s.Groups)), readings: make([]protocol.Reading, len(w.schema.Points))}
	t.groups[s.ID()] = g
	return g
}

// due reports whether there is enough to be committed.
func (t *thinner) due() bool {
	size := 0
	for _, g := range t.groups {
		if size += g.size; g.minutes >= thinMinutes {
			return true
		}
	}
	return size >= thinMade
}

// collect returns the messages that stand in for others, and those others,
// and forgets both. Groups that would hardly get smaller stay as they are.
// end says that nothing more is to come soon.
func (t *thinner) collect(end bool) (made []madeMessage, all held) {
	for _, id := range slices.SortedFunc(maps.Keys(t.groups), func(a, b protocol.SchemaID) int { return slices.Compare(a[:], b[:]) }) {
		g := t.groups[id]
		over := g.waiting.count > 0 && (t.now < g.next.Time || t.now-g.next.Time >= settleAfter)
		if over || end && len(g.tail) > 1 {
			g.settle()
		}
		if g.close() == nil && g.size > 0 && 4*g.size <= 3*g.whole.bytes {
			made = append(made, g.made...)
			all.add(g.whole)
		}
		g.forget()
		if g.waiting.count == 0 {
			delete(t.groups, id) // a schema of an earlier run may never come again
		}
	}
	return made, all
}

// holds returns the lowest seq that is held, 0 for none.
func (t *thinner) holds() (low uint64) {
	for _, g := range t.groups {
		for _, h := range []*held{&g.whole, &g.waiting} {
			if m := h.seqs.Min(); m > 0 && (low == 0 || m < low) {
				low = m
			}
		}
	}
	return low
}

// sameClock reports whether times of both can be placed by one clock message.
func (m thinStamp) sameClock(n *protocol.Message) bool {
	if m.Boot != n.Boot || m.Clock != n.Clock {
		return false
	}
	d := (m.Time - int64(m.Mono)) - (n.Time - int64(n.Mono))
	return n.Clock == protocol.ClockRecorded || d >= -sameClock && d <= sameClock
}

// gather adds the readings of a message to the minutes they are in.
func (g *thinGroup) gather(t *protocol.Telemetry) {
	groups := len(t.Schema.Groups)
	var m *minute
	var of int64
	for scan := range t.Scans {
		for p := range t.Columns {
			r := t.Columns[p].Reading(scan)
			k := g.w.group[p]
			at := t.Times[scan*groups+k]
			if m == nil || minuteOf(at) != of {
				of = minuteOf(at)
				if m = g.tail[of]; m == nil {
					m = newMinute(t.Schema)
					g.tail[of] = m
				}
			}
			if m.cells[p].add(r) && (!m.seen[k] || at > m.times[k]) {
				m.times[k], m.seen[k] = at, true
			}
		}
	}
}

// settle moves the tail to the whole minutes. A minute that no message can
// hold gives up what the group has: it stays in the segments as it is.
func (g *thinGroup) settle() {
	for _, k := range slices.Sorted(maps.Keys(g.tail)) {
		m := g.tail[k]
		if !slices.Contains(m.seen, true) {
			continue
		}
		clear(g.readings)
		g.w.row(m, g.times, g.readings)
		err := g.builder.Add(g.times, g.readings)
		if errors.Is(err, protocol.ErrFull) {
			g.head = g.next
			if err = g.close(); err == nil {
				err = g.builder.Add(g.times, g.readings)
			}
		}
		if err != nil {
			g.forget()
			g.drain()
			return
		}
		g.minutes++
	}
	g.head = g.next
	g.whole.add(g.waiting)
	g.drain()
}

func (g *thinGroup) drain() {
	clear(g.tail)
	g.waiting = held{}
}

// forget drops what was made.
func (g *thinGroup) forget() {
	g.builder.Reset()
	g.made, g.size, g.minutes, g.whole = nil, 0, 0, held{}
}

// close makes a message of the whole minutes. Its time, boot and clock are
// those of the newest message in it, so that its readings are placed alike.
func (g *thinGroup) close() error {
	if g.builder.Scans() == 0 {
		return nil
	}
	body, err := g.builder.Body(g.head.Time)
	g.builder.Reset()
	if err != nil {
		g.forget() // what it was made of stays as it is
		return err
	}
	m := protocol.Message{Type: protocol.TypeTelemetry, Time: g.head.Time, Boot: g.head.Boot, Mono: g.head.Mono, Clock: g.head.Clock, Body: body}
	g.made = append(g.made, madeMessage{m, g.w.schema})
	g.size += len(body) + madeOverhead
	return nil
}

// madeOverhead is about what a message takes beside its body.
const madeOverhead = 64
