package outbox

import (
	"slices"

	"tidemark/protocol"
)

const (
	thinMinutes = 60      // minutes in a message that stands in for others
	thinMade    = 1 << 19 // bytes of such messages at which they are committed
	maxTail     = 4096    // messages that wait for the end of a minute
	// settleAfter is how much later than a schema's last message another must
	// be for its last minute to be over, in milliseconds.
	settleAfter = 2 * minuteMs
	// sameClock is how far wall and monotonic time may drift apart, in
	// milliseconds, before their distance counts as another one: the data
	// service places all scans of a message by one distance.
	sameClock = 1000
)

// thinner gathers telemetry into one scan a minute. It holds nothing that is
// not still in the segments: what it forgets it can read again.
type thinner struct {
	at     uint64 // messages up to here have been looked at
	groups map[protocol.SchemaID]*thinGroup
	known  map[protocol.SchemaID]*widened
	now    int64 // time of the newest message taken
}

// thinGroup is the telemetry of one schema. It goes from the tail, of which
// the last minute may not be over, to the whole minutes.
type thinGroup struct {
	w       *widened
	builder *protocol.Builder
	made    []madeMessage
	size    int // bytes of made
	minutes int
	whole   held
	start   thinStamp // of the first in builder
	head    thinStamp // of the newest in whole

	tail     map[int64]*minute
	waiting  held
	next     thinStamp // of the newest in the tail
	last     int64     // the latest minute of all
	times    []int64
	readings []protocol.Reading
}

// thinStamp is when and by which clock a message was made.
type thinStamp struct {
	Boot, Mono uint64
	Time       int64
	Clock      protocol.ClockQuality
}

func stampOf(m *protocol.Message) thinStamp { return thinStamp{m.Boot, m.Mono, m.Time, m.Clock} }

// held is messages that are to be replaced.
type held struct {
	seqs     protocol.Set
	count    int
	bytes    int
	from, to int64
}

func (h *held) add(o held) {
	if o.count == 0 {
		return
	}
	if h.count == 0 || o.from < h.from {
		h.from = o.from
	}
	if h.count == 0 || o.to > h.to {
		h.to = o.to
	}
	h.seqs.AddSet(o.seqs)
	h.count += o.count
	h.bytes += o.bytes
}

// madeMessage is a message that stands in for others.
type madeMessage struct {
	message protocol.Message
	schema  *protocol.Schema
}

func newThinner(at uint64) *thinner {
	return &thinner{at: at, groups: map[protocol.SchemaID]*thinGroup{}, known: map[protocol.SchemaID]*widened{}}
}

// take adds a message, if it is telemetry that can be read.
func (t *thinner) take(s Stored, lookup protocol.LookupSchema) {
	t.at = s.Seq
	if s.Type != protocol.TypeTelemetry {
		return
	}
	m, err := protocol.DecodeMessage(s.Data)
	if err != nil {
		return
	}
	tel, err := m.Telemetry(lookup)
	if err != nil || len(m.Parts) > 0 {
		return
	}
	g := t.group(tel.Schema)
	if g == nil {
		return
	}
	t.now = m.Time
	first, last := minuteOf(slices.Min(tel.Times)), minuteOf(slices.Max(tel.Times))
	if g.waiting.count > 0 {
		if same := g.start.sameClock(m); !same || first > g.last || g.waiting.count >= maxTail || len(g.tail) >= thinMinutes {
			g.settle()
		}
	}
	if g.waiting.count == 0 && (g.builder.Scans() == 0 || !g.start.sameClock(m)) {
		_ = g.close() // after an error they stay as they are
		g.start = stampOf(m)
	}
	g.gather(tel)
	if g.waiting.count == 0 || last > g.last {
		g.last = last
	}
	g.waiting.add(held{protocol.SetOf(protocol.Range{First: m.Seq, Last: m.Seq}), 1, len(s.Data), m.Time, m.Time})
	g.next = stampOf(m)
}
