package host

import (
	"errors"
	"io/fs"

	"tidemark/drivers"
)

// ReasonSinceBoot is the reason of a cpu_pct that is the mean since boot.
const ReasonSinceBoot = "since_boot"

// ErrClosed is what Read returns once Close was called.
var ErrClosed = errors.New("host: the sensor was closed")

var (
	errSinceBoot   = errors.New("host: the mean since boot")
	errUnsupported = errors.New("host: this system does not offer it")
	errFormat      = errors.New("host: the system's answer has another form than expected")
)

// reasonOf returns the reason of a metric that could not be read.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, errUnsupported), errors.Is(err, fs.ErrNotExist):
		return drivers.ReasonNotFound
	case errors.Is(err, errFormat):
		return drivers.ReasonProtocol
	}
	return drivers.ReasonFailed
}
