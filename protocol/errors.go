package protocol

import (
	"errors"
	"fmt"
)

// The machine-readable reasons for refusing what another party sent. Each is
// the reason of an [*Error], and of the dead-letter record and the ack that
// tell about it.
const (
	ReasonMalformed     = "malformed"      // not the CBOR that the specification asks for
	ReasonTooLarge      = "too_large"      // over a limit of the specification
	ReasonUnknownSchema = "unknown_schema" // the schema that it names is not known here
	ReasonUnknownType   = "unknown_type"   // a message type that this version does not know
	ReasonSchemaHash    = "schema_hash"    // a schema that is not what its hash says
	ReasonMismatch      = "mismatch"       // parts of it contradict each other
	ReasonWrongGateway  = "wrong_gateway"  // it names a site or gateway other than its topic's
	ReasonName          = "bad_name"       // a name that is not of the form [a-z0-9][a-z0-9_-]{0,62}
)

// ErrUnknownSchema is what every error with [ReasonUnknownSchema] wraps. It is
// no fault of the sender: the receiver asks for the schema.
var ErrUnknownSchema = errors.New("unknown schema")

// ErrFull is what a Builder says of a scan that the message cannot take any
// more. It has taken nothing of it.
var ErrFull = errors.New("protocol: the message is full")

// Error says why something from the wire was refused.
type Error struct {
	Reason string // one of the Reason constants
	Where  string // the part, such as "bundle: message 3: column 7"
	Err    error
}

func (e *Error) Error() string {
	if e.Where == "" {
		return e.Err.Error()
	}
	return e.Where + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the machine-readable reason in err, or "malformed".
func ReasonOf(err error) string {
	var pe *Error
	if errors.As(err, &pe) {
		return pe.Reason
	}
	return ReasonMalformed
}

func refuse(reason, where, format string, args ...any) error {
	return &Error{Reason: reason, Where: where, Err: fmt.Errorf(format, args...)}
}

// at puts where in front of the place that err names.
func at(where string, err error) error {
	var pe *Error
	if !errors.As(err, &pe) {
		return &Error{Reason: ReasonMalformed, Where: where, Err: err}
	}
	switch {
	case where == "":
		where = pe.Where
	case pe.Where != "":
		where += ": " + pe.Where
	}
	return &Error{Reason: pe.Reason, Where: where, Err: pe.Err}
}
