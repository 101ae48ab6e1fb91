package line

import (
	"errors"
	"fmt"

	"github.com/aldas/go-modbus-client/packet"

	"tidemark/drivers"
)

// ReasonException returns the machine-readable reason of Modbus exception code.
func ReasonException(code uint8) string {
	return fmt.Sprintf("%s_%d", drivers.ReasonException, code)
}

// Opening.
var (
	errNoPort     = errors.New("the port does not exist; see whether the adapter is plugged in, and look for its name in /dev/serial/by-id")
	errPermission = errors.New("the port may not be opened by this user; add the user to the group that owns it (dialout)")
	errNoTerminal = errors.New("this is no serial port")
)

// Reading.
var (
	errSilent  = &drivers.ReadError{Reason: drivers.ReasonTimeout, Err: errors.New("no answer in time; check the wiring, the unit and the line's settings")}
	errDamaged = &drivers.ReadError{Reason: drivers.ReasonChecksum, Err: errors.New("a damaged answer; check the cable, the line's settings and termination")}
	errGarbled = &drivers.ReadError{Reason: drivers.ReasonChecksum, Err: errors.New("noise instead of an answer; check the line's settings and termination")}
	errForeign = &drivers.ReadError{Reason: drivers.ReasonProtocol, Err: errors.New("an answer that does not fit the question; check that units are unique and that nobody else asks on this line")}
	errNoisy   = &drivers.ReadError{Reason: drivers.ReasonProtocol, Err: errors.New("the line does not fall silent; check whether somebody else asks on it")}
)

// HeldError says that another process uses the port.
type HeldError struct {
	Port string
	PID  int    // 0 if unknown
	Name string // the program, if PID is known
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process; as root, `fuser %s` tells which", e.Port, e.Port)
	}
	return fmt.Sprintf("%s is in use by process %d (%s); stop it, or give it another port", e.Port, e.PID, e.Name)
}

// lostError says that the wire is gone and must be opened anew.
type lostError struct{ err error }

func (e *lostError) Error() string { return "the connection was lost: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// ExceptionError is a slave's refusal.
type ExceptionError struct{ Code uint8 }

func (e *ExceptionError) Error() string {
	return fmt.Sprintf("the device refused with exception %d (%s)", e.Code, packet.ErrorResponseRTU{Code: packet.ErrCode(e.Code)}.Error())
}

// ReasonOf returns the machine-readable reason of a failed question.
func ReasonOf(err error) string {
	var lost *lostError
	var exc *ExceptionError
	switch {
	case errors.As(err, &exc):
		return ReasonException(exc.Code)
	case errors.As(err, &lost):
		return drivers.ReasonPort
	}
	return drivers.ReasonOf(err)
}
