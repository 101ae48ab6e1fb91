//go:build linux

package clockstep

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shiftSource is added to package time: it maps the file that the environment
// names, and reads from it how far to shift, in seconds.
const shiftSource = `package time

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

var shiftedBy = sync.OnceValue(func() *int64 {
	none := new(int64)
	path, ok := syscall.Getenv("TIDEMARK_TEST_CLOCK")
	if !ok {
		return none
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return none
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return none
	}
	return (*int64)(unsafe.Pointer(&b[0]))
})

func shift() int64 { return atomic.LoadInt64(shiftedBy()) }
`

// buildShifted builds the agent with a shifted package time.
func buildShifted(t *testing.T, out string) {
	t.Helper()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time")
	source, err := os.ReadFile(filepath.Join(folder, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const begin = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if n := strings.Count(string(source), begin); n != 1 {
		t.Fatalf("time.Now of this Go is not as expected (%d places); bring the overlay up to date", n)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(folder, "time.go"):  write("time.go", strings.Replace(string(source), begin, begin+"\tsec += shift()\n", 1)),
		filepath.Join(folder, "shift.go"): write("shift.go", shiftSource),
	}})
	if err != nil {
		t.Fatal(err)
	}
	build(t, out, "./agent/cmd/tidemark-agent", "-overlay", write("overlay.json", string(overlay)))
}

func build(t *testing.T, out, pkg string, flags ...string) {
	t.Helper()
	cmd := exec.Command("go", append(append([]string{"build", "-buildvcs=false", "-o", out}, flags...), pkg)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, b)
	}
}

// wallClock is the file that shifts an agent's wall clock.
type wallClock struct {
	t    *testing.T
	file *os.File
}

func newWallClock(t *testing.T) *wallClock {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "clock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w := &wallClock{t, f}
	w.set(0)
	return w
}

func (w *wallClock) set(d time.Duration) {
	w.t.Helper()
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(int64(d/time.Second)))
	if _, err := w.file.WriteAt(b[:], 0); err != nil {
		w.t.Fatal(err)
	}
}
