//go:build !linux

package line

import "io"

// lockPort relies on the exclusive mode in which the library opens a port.
func lockPort(string) (io.Closer, error) { return unlocked{}, nil }

type unlocked struct{}

func (unlocked) Close() error { return nil }

// heldBy can't tell who holds the port.
func heldBy(path string) error { return &HeldError{Port: path} }
