package outbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/protocol"
)

// mix appends telemetry with a heartbeat at each tenth and an event at each
// hundredth message, and returns the seqs of each type.
func mix(t testing.TB, o *Outbox, n int) map[protocol.Type]*protocol.Set {
	t.Helper()
	seqs := map[protocol.Type]*protocol.Set{}
	for i := range n {
		m := event(1000)
		switch {
		case i%100 == 7:
		case i%10 == 3:
			m.Type = protocol.TypeHeartbeat
		default:
			m.Type = protocol.TypeTelemetry
		}
		tk, err := o.Append(t.Context(), m, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if seqs[m.Type] == nil {
			seqs[m.Type] = &protocol.Set{}
		}
		seqs[m.Type].Add(tk.Seq(), tk.Seq())
	}
	return seqs
}

// account fails unless every seq up to the head is readable or named lost,
// and none both.
func account(t *testing.T, o *Outbox) (read map[uint64]Stored, named protocol.Set) {
	t.Helper()
	head := uint64(0)
	for head == 0 || o.Head() != head { // Run goes on giving up, and each time tells of it behind the head
		head = o.Head()
		read, named = settle(t, o)
	}
	for seq := uint64(1); seq <= head; seq++ {
		if _, ok := read[seq]; ok == named.Contains(seq) {
			t.Fatalf("message %d: readable %v, named lost %v", seq, ok, named.Contains(seq))
		}
	}
	return read, named
}

func TestBudget(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.Budget, cfg.SegmentBytes = 2<<20, 256<<10
	o, end := start(t, cfg)
	seqs := mix(t, o, 4000)
	until(t, "the budget is kept", func() bool { return o.State().Bytes <= uint64(cfg.Budget) })
	_, named := account(t, o)
	if st := o.State(); st.Bytes > uint64(cfg.Budget)+128<<10 || st.Dropped == 0 || st.Dropped != named.Count() {
		t.Errorf("%+v, named %d", st, named.Count())
	}
	for _, kept := range []protocol.Type{protocol.TypeHeartbeat, protocol.TypeEvent} {
		if gone := seqs[kept].Minus(seqs[kept].Minus(named)); !gone.Empty() {
			t.Errorf("%d messages of type %s went, though there is telemetry", gone.Count(), kept)
		}
	}
	newest := seqs[protocol.TypeTelemetry].Max()
	if named.Contains(newest) {
		t.Error("the newest telemetry went")
	}
	for _, d := range o.Lost() {
		if d.Cause != protocol.CauseBudget || d.FromMs == 0 || d.ToMs < d.FromMs {
			t.Errorf("%+v", d)
		}
	}
	// A copy of the files, as a crash would leave them, tells the same.
	var dir string
	for head := uint64(0); head == 0 || o.Head() != head; {
		_, named = account(t, o)
		head, dir = o.Head(), t.TempDir()
		copyDir(t, cfg.Dir, dir)
	}
	end()
	cfg.Dir = dir
	o, end = start(t, cfg)
	defer end()
	if _, again := account(t, o); !named.Minus(again).Empty() { // it may have gone on giving up since
		t.Errorf("no longer named lost after a crash: %s", named.Minus(again))
	}
}

func TestBudgetOfEvents(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.Budget = 1 << 20
	o, end := start(t, cfg)
	defer end()
	appendN(t, o, 4000, 1000)
	read, named := account(t, o)
	if _, ok := read[4000]; !ok || named.Empty() || !named.Contains(1) {
		t.Errorf("kept %d, named lost %s", len(read), named)
	}
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s, and still not so: %s", what)
		}
	}
}

// loopFS mounts an ext4 file system of its own in a file.
func loopFS(t testing.TB, mib string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	image, mnt := filepath.Join(t.TempDir(), "disk.img"), t.TempDir()
	for _, c := range [][]string{
		{"truncate", "-s", mib, image},
		{"mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", image},
		{"mount", "-o", "loop", image, mnt},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(c, " "), err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return mnt
}

// TestFullDisk fills a disk with the outbox, which must give up its oldest
// telemetry and go on; then another program fills it, and goes away again.
func TestFullDisk(t *testing.T) {
	mnt := loopFS(t, "6M")
	cfg := small(filepath.Join(mnt, "outbox"))
	cfg.Budget = 64 << 20 // more than there is
	cfg.SegmentBytes = 256 << 10
	o, end := start(t, cfg)
	defer end()
	seqs := mix(t, o, 9000)
	_, named := account(t, o)
	if named.Empty() {
		t.Error("nothing was given up, though the disk is smaller than what was appended")
	}
	if gone := seqs[protocol.TypeEvent].Minus(seqs[protocol.TypeEvent].Minus(named)); !gone.Empty() {
		t.Errorf("%d events went, though there is telemetry", gone.Count())
	}
	until(t, "the reserve is there again", func() bool {
		info, err := os.Stat(filepath.Join(cfg.Dir, reserveName))
		o.kick()
		return err == nil && info.Size() == o.reserveSize()
	})
	hog, err := os.Create(filepath.Join(mnt, "hog"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = hog.Write(make([]byte, 4096))
	}
	hog.Close()
	mix(t, o, 300)
	if err := os.Remove(hog.Name()); err != nil {
		t.Fatal(err)
	}
	mix(t, o, 300)
	account(t, o)
	until(t, "it commits again", func() bool { return o.Fault() == nil })
}

func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{Dir: filepath.Join(file, "outbox")})
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("got %v", err)
	}
}
