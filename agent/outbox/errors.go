package outbox

import (
	"errors"
	"fmt"
)

// When it opens.

// InUseError says that another process holds the folder.
type InUseError struct {
	Dir string
	PID int // 0 if it is not known
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("outbox: the folder %s is in use by %s; stop that agent, or give this one another data folder", e.Dir, who)
}

// While it runs.

// ErrClosed is returned by calls after Close.
var ErrClosed = errors.New("outbox: closed")

// DamageError says that a segment cannot be read as it was written.
type DamageError struct {
	Path   string
	Page   uint64
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("outbox: segment %s is damaged at page %d: %s", e.Path, e.Page, e.Reason)
}
