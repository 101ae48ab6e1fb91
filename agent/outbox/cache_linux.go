package outbox

import (
	"os"

	"golang.org/x/sys/unix"
)

// adviseRandom keeps the kernel from reading ahead, which would bring large
// folios into the page cache; see [Outbox.create].
func adviseRandom(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM) }

// dropCached takes a file that is on the disk out of the page cache.
func dropCached(path string) {
	if f, err := os.Open(path); err == nil {
		dropCachedFile(f)
		f.Close()
	}
}

func dropCachedFile(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
