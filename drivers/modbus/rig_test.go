//go:build linux

package modbus

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"tidemark/drivers"
	"tidemark/drivers/drivertest/pty"
)

// profile makes a bus of one device from texts as they stand in a profile.
func profile(t *testing.T, bus, device string, points map[string]string) drivers.BusSpec {
	t.Helper()
	d := drivers.DeviceSpec{Name: "boiler", Interval: time.Second, Config: decode(t, newDevice(), device)}
	for _, name := range sorted(points) {
		d.Points = append(d.Points, drivers.PointSpec{Name: name, Config: decode(t, newPoint(), points[name])})
	}
	return drivers.BusSpec{Name: "line", Config: decode(t, newBus(), bus), Devices: []drivers.DeviceSpec{d}}
}

func sorted(m map[string]string) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	for i := range names {
		for j := i; j > 0 && names[j] < names[j-1]; j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
	return names
}

func decode(t *testing.T, c drivers.Config, text string) drivers.Config {
	t.Helper()
	if err := yaml.Load([]byte(text), c, yaml.WithKnownFields()); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if err := c.Validate(); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return c
}

// newCable makes a cable that passes bytes for the time of a test.
func newCable(t *testing.T) *pty.Cable {
	t.Helper()
	c, err := pty.NewCable(filepath.Join(t.TempDir(), "usb-adapter"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run() }()
	t.Cleanup(func() {
		c.Close()
		if err := <-done; err != nil {
			t.Errorf("the cable: %v", err)
		}
	})
	return c
}

func swallow([]byte, io.Writer) error { return nil }

// relay stands between the driver and a TCP slave, and can fall silent or away.
type relay struct {
	t        *testing.T
	upstream string
	address  string

	mu    sync.Mutex
	ln    net.Listener
	conns []net.Conn
	mute  bool
	wg    sync.WaitGroup
}

func newRelay(t *testing.T, upstream string) *relay {
	r := &relay{t: t, upstream: upstream, address: "127.0.0.1:0"}
	r.up()
	t.Cleanup(func() { r.down(); r.wg.Wait() })
	return r
}

func (r *relay) up() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = false
	if r.ln != nil {
		return
	}
	ln, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.ln, r.address = ln, ln.Addr().String()
	r.wg.Go(func() { r.accept(ln) })
}

func (r *relay) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ln != nil {
		r.ln.Close()
	}
	for _, c := range r.conns {
		c.Close()
	}
	r.ln, r.conns = nil, nil
}

func (r *relay) stall() { r.mu.Lock(); r.mute = true; r.mu.Unlock() }

func (r *relay) accept(ln net.Listener) {
	for {
		a, err := ln.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", r.upstream)
		if err != nil {
			a.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, a, b)
		r.mu.Unlock()
		r.wg.Go(func() { r.pass(a, b) })
		r.wg.Go(func() { r.pass(b, a) })
	}
}

func (r *relay) pass(from, to net.Conn) {
	defer to.Close()
	buf := make([]byte, 1024)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		mute := r.mute
		r.mu.Unlock()
		if mute {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func tempFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// link makes name lead to the driver's port of a cable.
func link(t *testing.T, c *pty.Cable, name string) {
	t.Helper()
	port, err := filepath.EvalSymlinks(c.DriverPort())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(port, name+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}
