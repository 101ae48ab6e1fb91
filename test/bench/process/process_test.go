//go:build linux

package process

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReadCountsCPUAndMemory(t *testing.T) {
	before, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	kept := make([]byte, 64<<20)
	x := uint64(1)
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
		for i := range kept {
			x = x*6364136223846793005 + 1
			kept[i] = byte(x >> 56)
		}
	}
	after, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	used := after.Sub(before)
	if used.CPU < 20*time.Millisecond || used.CPU > time.Minute {
		t.Errorf("counted %v of CPU for a busy loop of 200 ms", used.CPU)
	}
	if used.RSS < uint64(len(kept)) {
		t.Errorf("counted %d resident bytes with %d in use", used.RSS, len(kept))
	}
	if kept[0] == 0 && kept[1] == 0 && kept[2] == 0 {
		t.Error("the loop did not run")
	}
}

func TestReadCountsWrittenBytes(t *testing.T) {
	before, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// Beside the test, not in TMPDIR: a tmpfs counts nothing as written to storage.
	f, err := os.CreateTemp(".", "written-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const n = 1 << 20
	if _, err := f.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	after, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := after.Sub(before).Written; got < n || got > 2*n {
		t.Errorf("counted %d written bytes for %d", got, n)
	}
}

func TestReadSaysWhatIsMissing(t *testing.T) {
	if u, err := Read(1 << 30); err == nil {
		t.Errorf("a process that is not there has used %+v", u)
	}
	path := filepath.Join(t.TempDir(), "stat")
	if err := os.WriteFile(path, []byte("1 (a b) S 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readCPU(path); err == nil {
		t.Error("a short stat line was accepted")
	}
	if _, err := readField(path, "VmRSS:"); err == nil {
		t.Error("a missing field was accepted")
	}
}
