package hops

import (
	"sync"
	"testing"
	"time"

	"tidemark/protocol"
)

func TestRecorder(t *testing.T) {
	var r Recorder
	if got := r.Take(); len(got) != 0 {
		t.Errorf("before anything was observed: %v", got)
	}
	r.Observe(protocol.Queued, 3*time.Millisecond)
	r.Observe(protocol.Queued, time.Millisecond)
	r.Observe(protocol.Sent, -time.Second) // a clock that steps makes no negative time
	want := protocol.HopSummary{Count: 2, SumUs: 4000, MaxUs: 3000}
	if got := r.Take(); got[string(protocol.Queued)] != want || got[string(protocol.Sent)] != (protocol.HopSummary{Count: 1}) {
		t.Errorf("taken %v", got)
	}
	if got := r.Take(); len(got) != 0 {
		t.Errorf("taken twice: %v", got)
	}
	total := r.Total()
	if total[string(protocol.Queued)] != want {
		t.Errorf("in all %v", total)
	}
	total[string(protocol.Queued)] = protocol.HopSummary{} // a copy
	if r.Total()[string(protocol.Queued)] != want {
		t.Error("what was returned can be changed from outside")
	}
}

func TestRecorderIsSafeForConcurrentUse(t *testing.T) {
	var r Recorder
	var wg sync.WaitGroup
	taken := make([]uint64, 4)
	for i := range 4 {
		wg.Go(func() {
			for range 1000 {
				r.Observe(protocol.Sampled, time.Microsecond)
				taken[i] += r.Take()[string(protocol.Sampled)].Count
			}
		})
	}
	wg.Wait()
	sum := r.Take()[string(protocol.Sampled)].Count
	for _, n := range taken {
		sum += n
	}
	if sum != 4000 || r.Total()[string(protocol.Sampled)].Count != 4000 {
		t.Errorf("%d were taken and %d are counted of 4000", sum, r.Total()[string(protocol.Sampled)].Count)
	}
}
