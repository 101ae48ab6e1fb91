package outbox

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc32"
	"math/rand"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const childDir, childNoSync = "OUTBOX_TEST_CHILD", "OUTBOX_TEST_NOSYNC"

// TestMain is also the main of the child processes that the tests kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child appends until it is killed, and prints the seq and checksum of each
// message once it is committed.
func child(dir string) error {
	cfg := small(dir)
	cfg.Log = quiet()
	o, err := Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	o.noSync = os.Getenv(childNoSync) != ""
	go func() { _ = o.Run(context.Background()) }() // ends with the process
	r := rand.New(rand.NewSource(time.Now().UnixNano()))
	out := bufio.NewWriter(os.Stdout)
	for {
		var batch []*Ticket
		for range 1 + r.Intn(4) {
			t, err := o.Append(context.Background(), event(r.Intn(900)), nil, r.Intn(2) == 0)
			if err != nil {
				return err
			}
			batch = append(batch, t)
		}
		for _, t := range batch {
			if err := t.Wait(context.Background()); err != nil {
				return err
			}
			fmt.Fprintf(out, "ACK %d %d\n", t.Seq(), crc32.ChecksumIEEE(t.data))
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

func startChild(t testing.TB, dir string, env ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(append(os.Environ(), childDir+"="+dir), env...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(stdout)
}

func parseAck(line string) (seq uint64, sum uint32, ok bool) {
	n, _ := fmt.Sscanf(line, "ACK %d %d", &seq, &sum)
	return seq, sum, n == 2 && strings.HasPrefix(line, "ACK ")
}

// verify opens dir and returns the acknowledged messages that are not there as
// they were.
func verify(t testing.TB, dir string, acked map[uint64]uint32) (missing []uint64) {
	t.Helper()
	o, end := start(t, small(dir))
	defer end()
	read, _ := settle(t, o)
	for seq, sum := range acked {
		if s, ok := read[seq]; !ok || crc32.ChecksumIEEE(s.Data) != sum {
			missing = append(missing, seq)
		}
	}
	return missing
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[uint64]uint32{}
	for round := range 20 {
		cmd, lines := startChild(t, dir)
		kill := 1 + rand.Intn(60)
		for n := 0; lines.Scan(); n++ {
			if n == kill {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if seq, sum, ok := parseAck(lines.Text()); ok {
				if _, twice := acked[seq]; twice {
					t.Fatalf("round %d: seq %d was given twice", round, seq)
				}
				acked[seq] = sum
			}
		}
		_ = cmd.Wait() // killed
		if missing := verify(t, dir, acked); len(missing) > 0 {
			t.Fatalf("round %d: %d of %d committed messages are not there, the first is %d", round, len(missing), len(acked), missing[0])
		}
	}
	t.Logf("%d committed messages over 20 kills", len(acked))
}
