package trace

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
)

// TestFullDisk lets the ledger's file not grow, as a full disk does, and then
// grow again: what came meanwhile is there, once.
func TestFullDisk(t *testing.T) {
	l := newLab(t)
	sch := schemaAB(t)
	l.PutSchema(sch)
	reg := prometheus.NewRegistry()
	s, _ := l.start(Config{Dir: t.TempDir(), CommitEvery: 5 * time.Millisecond, Metrics: reg})
	limit := func(pages int) {
		if _, err := s.store.Write.Exec(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // SQLite takes it as: no more than there are
	var last, seq uint64
	for range 100 {
		seq += 2
		last = l.Commit(plantA, telemetry(t, sch, epochA, seq-1, int64(seq)), telemetry(t, sch, epochA, seq, int64(seq)))
	}
	streamtest.Eventually(t, "writes fail", func() bool { return gathered(t, reg, "tidemark_trace_write_retries_total")[""] > 1 })
	if p := s.position(); p >= last {
		t.Fatalf("position %d while nothing can be written", p)
	}
	limit(1 << 30)
	l.written(s, last)
	r := ask[contract.MessagesResult](l, contract.ReqMessages, contract.MessagesQuery{Limit: 1000})
	if len(r.Messages) != int(seq) {
		t.Errorf("%d messages, not %d", len(r.Messages), seq)
	}
}

func (s *Service) position() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pos.Device
}
