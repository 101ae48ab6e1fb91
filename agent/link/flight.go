package link

import (
	"bytes"
	"slices"
	"time"

	"tidemark/protocol"
)

// The bounds of the window of bytes in flight.
const (
	minWindow = 16 << 10
	maxWindow = 1 << 20
	// slowAck is the time to an ack above which the window shrinks: it bounds
	// how long a fresh message waits behind what is in flight.
	slowAck = 750 * time.Millisecond
)

// sent is a bundle in flight.
type sent struct {
	id      []byte // as an ack names it if it was refused
	seqs    protocol.Set
	schemas map[protocol.SchemaID]bool
	bytes   int
	at      time.Time
	apart   bool // it was part of one that was refused
	dropped bool // it holds only a dropped message
}

// flight is what was sent and not acknowledged, and how much of it there may be.
type flight struct {
	bundles []*sent
	seqs    protocol.Set
	bytes   int
	window  int
}

func newFlight() flight { return flight{window: 256 << 10} }

func (f *flight) add(b *sent) {
	f.bundles = append(f.bundles, b)
	f.seqs.AddSet(b.seqs)
	f.bytes += b.bytes
}

// room reports whether a further bundle may go out.
func (f *flight) room() bool { return len(f.bundles) == 0 || f.bytes < f.window }

// settle takes the bundles out that are committed, and returns them. When the
// cloud needs schemas it also takes out those that are committed in part, and
// those that name such a schema, calling again for each: it has left their
// messages out.
func (f *flight) settle(committed protocol.Set, need map[protocol.SchemaID]bool, again func(*sent)) []*sent {
	var done []*sent
	f.keep(func(b *sent) bool {
		missing := b.seqs.Minus(committed)
		if missing.Empty() {
			done = append(done, b)
			f.adapt(time.Since(b.at), b.bytes)
			return false
		}
		lacks := len(need) > 0 && missing.Count() < b.seqs.Count()
		for id := range b.schemas {
			lacks = lacks || need[id]
		}
		if lacks {
			again(b)
		}
		return !lacks
	})
	return done
}

func (f *flight) adapt(took time.Duration, bytes int) {
	if took > slowAck {
		f.window = max(minWindow, f.window*3/4)
		return
	}
	f.window = min(maxWindow, f.window+bytes)
}

// take takes the bundle with an id out and returns it, nil if it is not in flight.
func (f *flight) take(id []byte) (found *sent) {
	f.keep(func(b *sent) bool {
		if found == nil && bytes.Equal(b.id, id) {
			found = b
			return false
		}
		return true
	})
	return found
}

// expire takes out what was sent before t, calling again for each.
func (f *flight) expire(t time.Time, again func(*sent)) (n int) {
	f.keep(func(b *sent) bool {
		if b.at.Before(t) {
			n++
			again(b)
			return false
		}
		return true
	})
	if n > 0 {
		f.window = max(minWindow, f.window/2)
	}
	return n
}

// clear takes all out, calling again for each.
func (f *flight) clear(again func(*sent)) {
	f.keep(func(b *sent) bool { again(b); return false })
}

func (f *flight) keep(want func(*sent) bool) {
	before := len(f.bundles)
	f.bundles = slices.DeleteFunc(f.bundles, func(b *sent) bool { return !want(b) })
	if len(f.bundles) == before {
		return
	}
	f.seqs, f.bytes = protocol.Set{}, 0
	for _, b := range f.bundles {
		f.seqs.AddSet(b.seqs)
		f.bytes += b.bytes
	}
}
