package rule

import (
	"fmt"
	"testing"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
)

// TestFullDisk lets the service's file not grow, as a full disk does: nothing
// is said that is not kept, and once there is room, all is said, once.
func TestFullDisk(t *testing.T) {
	l := newLab(t)
	s, _ := l.start(Config{Dir: t.TempDir(), CommitEvery: 5 * time.Millisecond, Rules: rulesIn(t, "rules: [{name: r, when: a.x > 1}]")})
	limit := func(pages int) {
		if _, err := s.store.Write.Exec(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // SQLite takes it as: no more than there are
	at := time.Now().Add(-time.Hour).UnixMilli()
	var last uint64
	for i := range 40 {
		last = l.Commit(plantA, l.message(uint64(i+1), []string{"a.x"}, row{at + int64(2000*i), []any{2}}, row{at + int64(2000*i+1000), []any{0}}))
	}
	s.mu.RLock()
	written := s.written
	s.mu.RUnlock()
	if written >= last {
		t.Fatalf("position %d while nothing can be written", written)
	}
	limit(1 << 30)
	l.passed(s, last)
	streamtest.Eventually(t, "all is said", func() bool { return len(l.said()) == 80 })
	if r := ask[contract.AlertsResult](l, contract.ReqAlerts, contract.AlertsQuery{}); len(r.Alerts) != 40 {
		t.Errorf("%d alerts, not 40", len(r.Alerts))
	}
}
