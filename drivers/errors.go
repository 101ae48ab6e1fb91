package drivers

import (
	"context"
	"errors"
	"fmt"
)

// The reasons that drivers share. A reason is a short machine-readable word;
// drivers add their own where none of these fits.
const (
	ReasonTimeout   = "timeout"   // no answer in time
	ReasonPort      = "port"      // the port is missing, busy or not permitted
	ReasonChecksum  = "checksum"  // an answer came, damaged
	ReasonProtocol  = "protocol"  // an answer came that does not fit the question
	ReasonException = "exception" // the device refused the request
	ReasonRange     = "range"     // the value is outside what the point can have
	ReasonNotFound  = "not_found" // the thing to read is not there
	ReasonBreaker   = "breaker"   // not asked: it failed too often just now
	ReasonPanic     = "panic"     // the driver crashed and was restarted
	ReasonFailed    = "failed"    // anything else
	ReasonCancelled = "cancelled" // the agent is stopping
)

// FieldError is a mistake in one key of a driver's part of a profile.
type FieldError struct {
	Field string // the key as the profile spells it; "a.b" for a nested one
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns the mistake itself.
func (e *FieldError) Unwrap() error { return e.Err }

// Fieldf makes a *FieldError.
func Fieldf(field, format string, args ...any) error {
	return &FieldError{Field: field, Err: fmt.Errorf(format, args...)}
}

// ReadError is a failed poll with its machine-readable reason.
type ReadError struct {
	Reason string
	Err    error
}

func (e *ReadError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// ReasonOf returns the machine-readable reason of a failed poll.
func ReasonOf(err error) string {
	var re *ReadError
	switch {
	case errors.As(err, &re):
		return re.Reason
	case errors.Is(err, context.DeadlineExceeded):
		return ReasonTimeout
	case errors.Is(err, context.Canceled):
		return ReasonCancelled
	}
	return ReasonFailed
}
