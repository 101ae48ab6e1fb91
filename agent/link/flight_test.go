package link

import (
	"testing"
	"time"

	"tidemark/protocol"
)

func set(first, last uint64) protocol.Set {
	return protocol.SetOf(protocol.Range{First: first, Last: last})
}

func TestSettle(t *testing.T) {
	now := time.Now()
	a, b, other := protocol.SchemaID{1}, protocol.SchemaID{2}, protocol.SchemaID{3}
	for name, c := range map[string]struct {
		committed protocol.Set
		need      []protocol.SchemaID
		done      int
		left      string
	}{
		"nothing":                       {protocol.Set{}, nil, 0, "1-20"},
		"the first bundle":              {set(1, 10), nil, 1, "11-20"},
		"a bundle and a half":           {set(1, 15), nil, 1, "11-20"},
		"and a half, a schema is asked": {set(1, 15), []protocol.SchemaID{other}, 1, ""},
		"another's seqs":                {set(21, 30), []protocol.SchemaID{other}, 0, "1-20"},
		"all":                           {set(1, 99), nil, 2, ""},
		"none, its schema is asked":     {protocol.Set{}, []protocol.SchemaID{b}, 0, "1-10"},
	} {
		f := newFlight()
		f.add(&sent{seqs: set(1, 10), schemas: map[protocol.SchemaID]bool{a: true}, bytes: 100, at: now})
		f.add(&sent{seqs: set(11, 20), schemas: map[protocol.SchemaID]bool{b: true}, bytes: 200, at: now})
		need := map[protocol.SchemaID]bool{}
		for _, id := range c.need {
			need[id] = true
		}
		if got := f.settle(c.committed, need, func(*sent) {}); len(got) != c.done || f.seqs.String() != c.left {
			t.Errorf("%s: %d settled, %q in flight; want %d, %q", name, len(got), f.seqs.String(), c.done, c.left)
		}
		bytes := 0
		for _, b := range f.bundles {
			bytes += b.bytes
		}
		if f.bytes != bytes {
			t.Errorf("%s: %d bytes are counted, %d are in flight", name, f.bytes, bytes)
		}
	}
}

func TestExpiredBundlesAreSentAgain(t *testing.T) {
	f, now := newFlight(), time.Now()
	f.add(&sent{seqs: set(1, 10), bytes: 100, at: now.Add(-time.Minute)})
	f.add(&sent{seqs: set(11, 20), bytes: 100, at: now})
	window := f.window
	if n := f.expire(now.Add(-ackTimeout), func(*sent) {}); n != 1 || f.seqs.String() != "11-20" {
		t.Errorf("%d expired, %s are left in flight", n, f.seqs)
	}
	if f.window >= window {
		t.Errorf("the window grew from %d to %d on a link that loses", window, f.window)
	}
}

func TestWindowStaysInItsBounds(t *testing.T) {
	f := newFlight()
	if !f.room() {
		t.Error("an empty flight has no room")
	}
	for range 100 {
		f.adapt(10*time.Second, 1000)
	}
	if f.window != minWindow {
		t.Errorf("on a slow link the window is %d, want %d", f.window, minWindow)
	}
	f.add(&sent{seqs: set(1, 1), bytes: minWindow, at: time.Now()})
	if f.room() {
		t.Error("a full flight has room")
	}
	for range 100 {
		f.adapt(time.Millisecond, 100_000)
	}
	if f.window != maxWindow || !f.room() {
		t.Errorf("on a fast link the window is %d, want %d", f.window, maxWindow)
	}
	f.clear(func(*sent) {})
	if f.bytes != 0 || !f.seqs.Empty() {
		t.Errorf("a cleared flight holds %d bytes, seqs %s", f.bytes, f.seqs)
	}
}
