package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"go.bug.st/serial"
)

// serialWire is an open serial port, with a lock on it.
type serialWire struct {
	port serial.Port
	lock io.Closer
	path string
	node os.FileInfo // what the path led to; nil where that can't be told
}

// slice bounds a single wait in the port, which can't watch a context. Closing
// the port from outside would end it too, but then the library may for a moment
// read from whatever file has been given the port's number since.
const slice = 20 * time.Millisecond

func openSerial(c Config) (wire, error) {
	w := &serialWire{path: c.Port}
	if runtime.GOOS != "windows" {
		node, err := os.Stat(c.Port)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%s: %w", c.Port, errNoPort)
		case err != nil:
			return nil, err
		case node.Mode()&fs.ModeCharDevice == 0:
			return nil, fmt.Errorf("%s: %w", c.Port, errNoTerminal)
		}
		w.node = node
	}
	lock, err := lockPort(c.Port)
	if err != nil {
		return nil, err
	}
	w.lock = lock
	if w.port, err = serial.Open(c.Port, c.mode()); err != nil {
		lock.Close()
		return nil, explain(c.Port, err)
	}
	return w, nil
}

func (c Config) mode() *serial.Mode {
	m := &serial.Mode{BaudRate: c.Baud, DataBits: 8}
	switch c.Parity {
	case Even:
		m.Parity = serial.EvenParity
	case Odd:
		m.Parity = serial.OddParity
	}
	if c.StopBits == 2 {
		m.StopBits = serial.TwoStopBits
	}
	return m
}

// explain says in the driver's words why a port did not open.
func explain(path string, err error) error {
	var pe *serial.PortError
	if !errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch pe.Code() {
	case serial.PortBusy:
		return heldBy(path)
	case serial.PortNotFound:
		return fmt.Errorf("%s: %w", path, errNoPort)
	case serial.PermissionDenied:
		return fmt.Errorf("%s: %w", path, errPermission)
	case serial.InvalidSerialPort:
		return fmt.Errorf("%s: %w (%w)", path, errNoTerminal, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func (w *serialWire) read(ctx context.Context, p []byte, until time.Time) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		left := time.Until(until)
		if err := w.port.SetReadTimeout(min(max(left, 0), slice)); err != nil {
			return 0, err
		}
		// A timeout is no error to the library, but 0 bytes.
		n, err := w.port.Read(p)
		if n > 0 || err != nil {
			return n, err
		}
		if left <= slice {
			return 0, nil
		}
	}
}

func (w *serialWire) write(p []byte) error {
	n, err := w.port.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

func (w *serialWire) discard() error {
	if err := w.port.ResetOutputBuffer(); err != nil {
		return err
	}
	return w.port.ResetInputBuffer()
}

func (w *serialWire) moved() bool {
	if w.node == nil {
		return false
	}
	now, err := os.Stat(w.path)
	return err != nil || !os.SameFile(now, w.node)
}

func (w *serialWire) Close() error {
	// The kernel would wait for up to 30 s until a dead adapter has sent what
	// is queued. It fails if the adapter is gone, which is no matter then.
	_ = w.port.ResetOutputBuffer()
	err := w.port.Close()
	if lerr := w.lock.Close(); err == nil {
		err = lerr
	}
	return err
}
