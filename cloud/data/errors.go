package data

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"tidemark/cloud/contract"
)

// When the service starts.
var (
	// ErrStreamReset says that the device stream ends before what is stored.
	ErrStreamReset = errors.New("data: the device stream ends before the position that the warehouse has stored")
	// ErrNoDir says that Config.Dir is empty.
	ErrNoDir = errors.New("data: no data folder is given; set Config.Dir")
)

// errFlusher says that the flusher has stopped.
var errFlusher = errors.New("data: the flusher has stopped")

// errUnsound says that SQLite's own check of a file fails.
var errUnsound = errors.New("data: the file is not sound")

// errGone says that a partition was removed or set aside while it was wanted.
var errGone = errors.New("data: the partition is gone")

// DamagedError says that a file of the hot store is damaged. It has been
// renamed to Aside.
type DamagedError struct {
	File, Aside string
	Err         error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("data: %s is damaged and was set aside as %s: %v; its readings are missing from answers until a copy of it is put back while the service is stopped, the lake keeps the hours that were sealed", e.File, e.Aside, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// damaged reports whether err says that a database is damaged, rather than
// that it cannot be read or written at the moment.
func damaged(err error) bool {
	var s *sqlite.Error
	if !errors.As(err, &s) {
		return false
	}
	code := s.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

func refuse(status int, reason, format string, args ...any) *contract.Problem {
	return &contract.Problem{Status: status, Reason: reason, Text: fmt.Sprintf(format, args...)}
}
