package pty

import (
	"io"
	"sync"
	"sync/atomic"
)

// Tamper handles what arrives at one end of a cable, and writes to the other
// end what is to arrive there. It runs on the goroutine of its direction: while
// it waits, nothing else passes in that direction.
type Tamper func(p []byte, to io.Writer) error

// Cable joins two ports: what is written to one can be read from the other.
type Cable struct {
	// A and B are the ports at the two ends; by custom the driver opens A and
	// the device opens B.
	A, B *PTY

	toB, toA atomic.Pointer[Tamper]
}

// NewCable makes two ports. Nothing passes until Run.
func NewCable() (*Cable, error) {
	a, err := Open()
	if err != nil {
		return nil, err
	}
	b, err := Open()
	if err != nil {
		a.Close()
		return nil, err
	}
	return &Cable{A: a, B: b}, nil
}

// ToB sets what happens to bytes on their way from A to B; nil passes them on.
func (c *Cable) ToB(t Tamper) { set(&c.toB, t) }

// ToA sets what happens to bytes on their way from B to A; nil passes them on.
func (c *Cable) ToA(t Tamper) { set(&c.toA, t) }

func set(p *atomic.Pointer[Tamper], t Tamper) {
	if t == nil {
		p.Store(nil)
		return
	}
	p.Store(&t)
}

// Run passes bytes until Close, or until an end fails.
func (c *Cable) Run() error {
	var wg sync.WaitGroup
	errs := make([]error, 2)
	wg.Go(func() { errs[0] = carry(c.A, c.B, &c.toB); c.Close() })
	wg.Go(func() { errs[1] = carry(c.B, c.A, &c.toA); c.Close() })
	wg.Wait()
	if errs[0] != nil {
		return errs[0]
	}
	return errs[1]
}

func carry(from io.Reader, to io.Writer, tamper *atomic.Pointer[Tamper]) error {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return err
		}
		if t := tamper.Load(); t != nil {
			err = (*t)(buf[:n], to)
		} else {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			return err
		}
	}
}

// Close removes both ports and ends Run.
func (c *Cable) Close() error {
	err := c.A.Close()
	if berr := c.B.Close(); err == nil {
		err = berr
	}
	return err
}
