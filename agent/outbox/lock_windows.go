package outbox

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// errDiskFull is how the system says that a disk is full.
var errDiskFull error = windows.ERROR_DISK_FULL

// tryLock locks a byte far behind the text of the file, since a locked byte
// cannot be read by others, and the text is for them.
func tryLock(f *os.File) (held bool, err error) {
	at := &windows.Overlapped{Offset: 1 << 30}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	return errors.Is(err, windows.ERROR_LOCK_VIOLATION), err
}

// ignoreUnsupported: Windows cannot flush a folder, NTFS journals names itself.
func ignoreUnsupported(error) error { return nil }
