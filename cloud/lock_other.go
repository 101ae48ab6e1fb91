//go:build !unix

package cloud

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir holds a folder for this process until the returned function is
// called: here a file that is open cannot be removed.
func lockDir(dir string) (unlock func(), err error) {
	name := filepath.Join(dir, "lock")
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("cloud: the data folder %s is in use by another process; stop that, or name another folder", dir)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("cloud: data folder %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
