package outbox

import (
	"math"
	"path/filepath"
	"slices"
	"time"

	"tidemark/protocol"
)

// SegmentInfo describes a segment, or a damaged file that was put aside.
type SegmentInfo struct {
	Name        string
	First, Last uint64 // seqs; Last is First-1 while it is empty
	Messages    uint64 // not acknowledged and not given up
	Bytes       int64  // on disk
	Acked       uint64 // messages acknowledged
	Quarantined bool   // damaged: about to be repaired, or kept aside for inspection
}

// quarantined is a damaged file that was put aside.
type quarantined struct {
	name  string
	first uint64
	bytes int64
}

// Segments returns the segments in the order of their seqs, then the files
// put aside.
func (o *Outbox) Segments() []SegmentInfo {
	o.mu.Lock()
	defer o.mu.Unlock()
	done := o.acked.Clone()
	done.AddSet(o.lost)
	out := make([]SegmentInfo, 0, len(o.segments)+len(o.aside))
	for _, s := range o.segments {
		i := SegmentInfo{Name: filepath.Base(s.path), First: s.first, Last: s.last, Bytes: s.bytes, Quarantined: s.err != nil}
		if s.first <= s.last {
			i.Messages = done.Missing(s.first, s.last).Count()
			i.Acked = s.last - s.first + 1 - o.acked.Missing(s.first, s.last).Count()
		}
		out = append(out, i)
	}
	for _, q := range o.aside {
		out = append(out, SegmentInfo{Name: q.name, First: q.first, Last: q.first - 1, Bytes: q.bytes, Quarantined: true})
	}
	return out
}

// Lost returns what was given up, the newest reports last; at most 32.
func (o *Outbox) Lost() []protocol.Dropped {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.reports)
}

// Fault returns why commits fail at present, nil if they do not.
func (o *Outbox) Fault() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fault
}

// State returns a summary for heartbeats. OldestMs is 0 when nothing is kept.
func (o *Outbox) State() protocol.OutboxState {
	infos := o.Segments()
	o.mu.Lock()
	s := protocol.OutboxState{NextSeq: o.head + 1, Dropped: o.dropped, Thinned: o.thinned, BudgetBytes: uint64(o.cfg.Budget),
		Segments: uint64(len(o.segments)), Quarantined: uint64(len(o.aside))}
	o.mu.Unlock()
	for _, i := range infos {
		s.Depth += i.Messages
		s.Bytes += uint64(i.Bytes)
	}
	if s.Depth > 0 {
		s.OldestMs = uint64(max(0, o.oldest()))
	}
	return s
}

// oldest returns the age of the oldest message kept, in milliseconds. What
// stands in for others has a higher seq than younger messages may have.
func (o *Outbox) oldest() (age int64) {
	o.mu.Lock()
	open := o.standIns.Minus(o.acked).Minus(o.lost)
	o.mu.Unlock()
	for _, after := range []uint64{0, max(open.Min(), 1) - 1} {
		if first, err := o.Read(after, math.MaxUint64, 1, protocol.Set{}); err == nil && len(first) > 0 {
			age = max(age, time.Now().UnixMilli()-first[0].Time)
		}
	}
	return age
}
