package outbox

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// dirLock keeps a second agent out of the folder. The lock is the kernel's and
// ends with the process, so none is left behind by a crash; the file names
// who holds it.
type dirLock struct{ f *os.File }

const lockName = "outbox.lock"

func lockDir(dir string) (*dirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("outbox: the folder %s cannot be written: %w; give the agent's user the right to write there", dir, err)
	}
	held, err := tryLock(f)
	if held {
		text, _ := io.ReadAll(io.LimitReader(f, 32))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		f.Close()
		return nil, &InUseError{Dir: dir, PID: pid}
	}
	if err == nil {
		// A full disk must not stop the agent: the text is a courtesy.
		_, _ = f.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0)
		return &dirLock{f}, nil
	}
	f.Close()
	return nil, fmt.Errorf("outbox: lock the folder %s: %w", dir, err)
}

func (l *dirLock) release() { l.f.Close() }
