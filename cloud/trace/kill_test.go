package trace

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// TestMain runs the service as a process of its own where a test asks for it.
func TestMain(m *testing.M) {
	if url := os.Getenv("TRACE_TEST_URL"); url != "" {
		if err := child(url, os.Getenv("TRACE_TEST_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func child(url, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := bus.Open(ctx, bus.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer b.Close()
	s, err := New(Config{Dir: dir, CommitEvery: 5 * time.Millisecond}, b.Conn(), b.JetStream())
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// startChild starts the service in a process and returns how to end it.
func startChild(t *testing.T, url, dir string) (end func(os.Signal)) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "TRACE_TEST_URL="+url, "TRACE_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func(sig os.Signal) {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(sig) // it may have ended by itself, which Wait tells
		err := cmd.Wait()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && (!ws.Signaled() || ws.Signal() != syscall.SIGKILL) {
			t.Errorf("the service ended by itself: %v", err)
		}
	}
	t.Cleanup(func() { end(os.Kill) })
	return end
}

// writtenOnDisk is the position in a ledger that another process writes.
func writtenOnDisk(dir string) (p uint64) {
	db, err := openDB(filepath.Join(dir, "trace.db"), "deferred")
	if err != nil {
		return 0
	}
	defer db.Close()
	_ = db.QueryRow(`SELECT device FROM position`).Scan(&p) // 0 until the tables are there
	return p
}

// TestKill kills the service at random moments while bundles and dead letters
// arrive; in the end each message is in the ledger once, and the account balances.
func TestKill(t *testing.T) {
	l := newLab(t)
	sch := schemaAB(t)
	l.putSchema(sch)
	dir := t.TempDir()
	const rounds, bundlesPerRound = 8, 60
	rng := rand.New(rand.NewPCG(1, 2))
	var seq, dead, last uint64
	for range rounds {
		end := startChild(t, l.bus.URL(), dir)
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
				l.reject(plantA, epochA, seq, "mismatch", "A test.")
			} else {
				msgs = append(msgs, other(protocol.TypeEvent, epochA, seq, int64(1_700_000_000_000+1000*seq), (&protocol.Event{Code: "x.y"}).Encode()))
			}
			last = l.commit(plantA, msgs...)
		}
		eventually(t, "the ledger gets to where it is killed", func() bool { return writtenOnDisk(dir) >= killAfter })
		end(os.Kill)
	}
	s, _ := l.start(Config{Dir: dir, CommitEvery: 20 * time.Millisecond})
	l.written(s, last)
	eventually(t, "the account knows every dead letter", func() bool {
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
