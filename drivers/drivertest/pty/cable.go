package pty

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// Tamper handles what arrives at one end of a cable, and writes to the other
// end what is to arrive there. It runs on the goroutine of its direction: while
// it waits, nothing else passes in that direction.
type Tamper func(p []byte, to io.Writer) error

// Cable joins two ports: what is written to one can be read from the other. Its
// driver's end can be unplugged and plugged in again, like a USB adapter whose
// wire to the device stays where it is.
type Cable struct {
	link   string
	device *PTY

	toDevice, toDriver atomic.Pointer[Tamper]

	mu      sync.Mutex
	changed sync.Cond
	driver  *PTY // nil while unplugged
	closed  bool
}

// NewCable makes a cable. The driver's port is found under link, a path that
// becomes a symbolic link. Nothing passes until Run.
func NewCable(link string) (*Cable, error) {
	device, err := Open()
	if err != nil {
		return nil, err
	}
	c := &Cable{link: link, device: device}
	c.changed.L = &c.mu
	if err := c.Plug(); err != nil {
		device.Close()
		return nil, err
	}
	return c, nil
}

// DriverPort is where the driver finds its port while it is plugged in.
func (c *Cable) DriverPort() string { return c.link }

// DevicePort is the port for the program that is the device.
func (c *Cable) DevicePort() string { return c.device.Path }

// Plug makes the driver's port, if it is not there.
func (c *Cable) Plug() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.driver != nil || c.closed {
		return nil
	}
	p, err := Open()
	if err != nil {
		return err
	}
	if err := p.Link(c.link); err != nil {
		p.Close()
		return err
	}
	c.driver = p
	c.changed.Broadcast()
	return nil
}

// Unplug removes the driver's port and the link to it.
func (c *Cable) Unplug() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.driver == nil {
		return nil
	}
	err := errors.Join(os.Remove(c.link), c.driver.Close())
	c.driver = nil
	return err
}

// ToDevice sets what happens to bytes on their way to the device; nil passes them on.
func (c *Cable) ToDevice(t Tamper) { set(&c.toDevice, t) }

// ToDriver sets what happens to bytes on their way to the driver; nil passes them on.
func (c *Cable) ToDriver(t Tamper) { set(&c.toDriver, t) }

func set(p *atomic.Pointer[Tamper], t Tamper) {
	if t == nil {
		p.Store(nil)
		return
	}
	p.Store(&t)
}

// Run passes bytes until Close.
func (c *Cable) Run() error {
	var wg sync.WaitGroup
	var err error
	wg.Go(func() {
		err = carry(c.device, driverEnd{c}, &c.toDriver)
	})
	for p := c.plugged(nil); p != nil; p = c.plugged(p) {
		// Its error says that it was unplugged.
		_ = carry(p, c.device, &c.toDevice)
	}
	wg.Wait()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// plugged waits for a driver's port other than old. It returns nil after Close.
func (c *Cable) plugged(old *PTY) *PTY {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && (c.driver == nil || c.driver == old) {
		c.changed.Wait()
	}
	if c.closed {
		return nil
	}
	return c.driver
}

// driverEnd writes to the driver's port. While that is unplugged, bytes are lost.
type driverEnd struct{ c *Cable }

func (d driverEnd) Write(p []byte) (int, error) {
	d.c.mu.Lock()
	to := d.c.driver
	d.c.mu.Unlock()
	if to != nil {
		_, _ = to.Write(p) // fails only if it is unplugged meanwhile
	}
	return len(p), nil
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
	err := c.Unplug()
	c.mu.Lock()
	c.closed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	return errors.Join(err, c.device.Close())
}
