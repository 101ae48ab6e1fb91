package hops

import (
	"sync"
	"time"

	"tidemark/protocol"
)

// Recorder sums durations by stage. The zero Recorder is ready; it is safe for
// concurrent use.
type Recorder struct {
	mu    sync.Mutex
	since map[string]protocol.HopSummary
	total map[string]protocol.HopSummary
}

// Observe records that a message spent d in a stage.
func (r *Recorder) Observe(stage protocol.Stage, d time.Duration) {
	us := uint64(max(d, 0).Microseconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since == nil {
		r.since, r.total = map[string]protocol.HopSummary{}, map[string]protocol.HopSummary{}
	}
	r.since[string(stage)] = plus(r.since[string(stage)], us)
	r.total[string(stage)] = plus(r.total[string(stage)], us)
}

func plus(h protocol.HopSummary, us uint64) protocol.HopSummary {
	return protocol.HopSummary{Count: h.Count + 1, SumUs: h.SumUs + us, MaxUs: max(h.MaxUs, us)}
}

// Take returns what was recorded since it was last called.
func (r *Recorder) Take() map[string]protocol.HopSummary {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.since
	if out != nil {
		r.since = map[string]protocol.HopSummary{}
	}
	return out
}

// Total returns a copy of all that was recorded.
func (r *Recorder) Total() map[string]protocol.HopSummary {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]protocol.HopSummary, len(r.total))
	for k, v := range r.total {
		out[k] = v
	}
	return out
}
