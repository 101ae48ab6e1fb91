package trace

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
)

// TestMain runs the service as a process of its own where a test asks for it.
func TestMain(m *testing.M) {
	streamtest.Main(m, func(b *bus.Bus) (streamtest.Service, error) {
		return New(Config{Dir: os.Getenv("TRACE_TEST_DIR"), CommitEvery: 5 * time.Millisecond}, b.Conn(), b.JetStream())
	})
}

// TestKill kills the service at random moments while bundles and dead letters
// arrive; in the end each message is in the ledger once, and the account balances.
func TestKill(t *testing.T) {
	l := newLab(t)
	sch := schemaAB(t)
	l.PutSchema(sch)
	dir := t.TempDir()
	const rounds, bundlesPerRound = 8, 60
	rng := rand.New(rand.NewPCG(1, 2))
	var seq, dead, last uint64
	for range rounds {
		kill := l.StartProcess("TRACE_TEST_DIR=" + dir)
		killAfter := last + uint64(rng.IntN(bundlesPerRound))
		for range bundlesPerRound {
			var msgs []*protocol.Message
			for range 1 + rng.IntN(4) {
				seq++
				msgs = append(msgs, telemetry(t, sch, epochA, seq, int64(1_700_000_000_000+1000*seq)))
			}
			seq++
			if rng.IntN(5) == 0 {
				dead++
				l.Reject(plantA, epochA, seq, "mismatch", "A test.")
			} else {
				msgs = append(msgs, other(protocol.TypeEvent, epochA, seq, int64(1_700_000_000_000+1000*seq), (&protocol.Event{Code: "x.y"}).Encode()))
			}
			last = l.Commit(plantA, msgs...)
		}
		streamtest.Eventually(t, "the ledger gets to where it is killed", func() bool { return streamtest.PositionOnDisk(filepath.Join(dir, "trace.db")) >= killAfter })
		kill()
	}
	s, _ := l.start(Config{Dir: dir, CommitEvery: 20 * time.Millisecond})
	l.written(s, last)
	streamtest.Eventually(t, "the account knows every dead letter", func() bool {
		r := ask[contract.GatewaysResult](l, contract.ReqGateways, contract.GatewaysQuery{})
		return len(r.Gateways) == 1 && r.Gateways[0].Account == contract.Account{In: seq, Out: seq - dead, Dead: dead}
	})
	seen := map[string]int{}
	q := contract.MessagesQuery{Limit: 1000}
	for page := 0; page == 0 || q.Cursor != ""; page++ {
		r := ask[contract.MessagesResult](l, contract.ReqMessages, q)
		for _, m := range r.Messages {
			seen[m.Seqs]++
		}
		q.Cursor = r.Next
	}
	for i := range seq {
		if n := seen[fmt.Sprint(i+1)]; n != 1 {
			t.Errorf("seq %d is in the ledger %d times", i+1, n)
		}
	}
	if len(seen) != int(seq) {
		t.Errorf("%d messages in the ledger, not %d", len(seen), seq)
	}
}
