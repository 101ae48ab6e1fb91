package replay

import (
	"errors"
	"fmt"
)

// ReasonFormat is the reason of a point whose row could not be understood.
const ReasonFormat = "format"

// ErrClosed is what Read returns once Close was called.
var ErrClosed = errors.New("replay: the recording was closed")

// Mistakes of a row, in [RowError].
var (
	errFields  = errors.New("a row is time,point,value; quote a field that holds a comma or a quotation mark")
	errTime    = errors.New("the time is no RFC 3339 time such as 2026-01-01T00:00:00.003Z between the years 1678 and 2261")
	errTooLong = fmt.Errorf("the row is longer than %d bytes", MaxRow)
	errValue   = errors.New("the value is not of the point's type")
	errRange   = errors.New("the value is too large for the point's type")
)

// RowError is a row of a recording that could not be used.
type RowError struct {
	File  string
	Line  int    // from 1
	Point string // device.point; empty if the row does not tell
	Err   error
}

func (e *RowError) Error() string {
	if e.Point == "" {
		return fmt.Sprintf("replay: %s:%d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("replay: %s:%d: %s: %v", e.File, e.Line, e.Point, e.Err)
}

// Unwrap returns the mistake.
func (e *RowError) Unwrap() error { return e.Err }
