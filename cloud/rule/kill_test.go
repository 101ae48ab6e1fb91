package rule

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
)

// TestMain runs the service as a process of its own where a test asks for it.
func TestMain(m *testing.M) {
	streamtest.Main(m, func(b *bus.Bus) (streamtest.Service, error) {
		return New(Config{Dir: os.Getenv("RULE_TEST_DIR"), Rules: os.Getenv("RULE_TEST_RULES"), CommitEvery: 5 * time.Millisecond}, b.Conn(), b.JetStream())
	})
}

// TestKill kills the service again and again under a random timeline; in the
// end every alert that the reference knows was said once when it fired and once
// when it cleared, in order, and no other.
func TestKill(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	rules := rulesIn(t, "rules: [{name: r, when: 'a.x >= 2 && b.y < 3', for: 3s, clear_when: a.x < 1}]")
	ref := &reference{hold: 3000, lateness: 15000, clear: 1, newest: map[string]int64{}, value: map[string]int{"a.x": -1, "b.y": -1}}
	rng := rand.New(rand.NewPCG(3, 4))
	at := time.Now().Add(-24 * time.Hour).UnixMilli()
	var seq, last uint64
	const rounds, bundles = 8, 60
	for range rounds {
		kill := l.StartProcess("RULE_TEST_DIR="+dir, "RULE_TEST_RULES="+rules)
		killAfter := last + uint64(rng.IntN(bundles))
		for range bundles {
			seq++
			point := []string{"a.x", "b.y"}[rng.IntN(2)]
			var rows []row
			var batch []obs
			for range 1 + rng.IntN(3) {
				at += int64(500 + rng.IntN(1500))
				v := rng.IntN(4)
				rows = append(rows, row{at, []any{v}})
				batch = append(batch, obs{at, point, v})
			}
			ref.apply(batch)
			last = l.Commit(plantA, l.message(seq, []string{point}, rows...))
		}
		streamtest.Eventually(t, "rules get to where they are killed", func() bool { return streamtest.PositionOnDisk(filepath.Join(dir, "rule.db")) >= killAfter })
		kill()
	}
	if len(ref.changes) < 10 {
		t.Fatalf("the timeline has only %d changes", len(ref.changes))
	}
	s, _ := l.start(Config{Dir: dir, Rules: rules, CommitEvery: 20 * time.Millisecond})
	l.passed(s, last)
	streamtest.Eventually(t, "all is said", func() bool { return len(l.said()) >= len(ref.changes) })
	if got := changes(l.said()); !reflect.DeepEqual(got, ref.changes) {
		t.Errorf("said %v\nwant %v", got, ref.changes)
	}
	stored := ask[contract.AlertsResult](l, contract.ReqAlerts, contract.AlertsQuery{Limit: 1000}).Alerts
	slices.Reverse(stored)
	var fired []contract.Alert
	for _, a := range l.said() {
		if a.State == "firing" {
			fired = append(fired, a)
		}
	}
	if len(stored) != len(fired) {
		t.Fatalf("%d alerts kept, %d fired", len(stored), len(fired))
	}
	for i := range stored {
		if stored[i].ID != fired[i].ID || stored[i].SinceMs != fired[i].SinceMs {
			t.Errorf("alert %d is %+v, fired was %+v", i, stored[i], fired[i])
		}
	}
}
