//go:build linux

package pty

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.bug.st/serial"
)

func TestCableCarriesEveryByteBothWays(t *testing.T) {
	c, err := NewCable(filepath.Join(t.TempDir(), "port"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run() }()
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	a, b := open(t, c.DriverPort()), open(t, c.DevicePort())
	for _, ends := range [][2]serial.Port{{a, b}, {b, a}} {
		if _, err := ends[0].Write(all); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(all))
		if _, err := io.ReadFull(ends[1], got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, all) {
			t.Fatalf("got % x", got)
		}
	}
	c.ToDevice(func(p []byte, to io.Writer) error { _, err := to.Write(bytes.ToUpper(p)); return err })
	if _, err := a.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1)
	if _, err := io.ReadFull(b, got); err != nil || got[0] != 'X' {
		t.Fatalf("tampered byte: %q, %v", got, err)
	}
	c.ToDevice(nil)
	if err := c.Unplug(); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Read(got); err == nil {
		t.Fatalf("an unplugged port gave %d bytes and no error", n)
	}
	if err := c.Plug(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, c.DriverPort()).Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, got); err != nil || got[0] != 'y' {
		t.Fatalf("byte after plugging in again: %q, %v", got, err)
	}
}

func open(t *testing.T, path string) serial.Port {
	t.Helper()
	p, err := serial.Open(path, &serial.Mode{BaudRate: 115200})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestClosedPortIsGone(t *testing.T) {
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "usb-adapter")
	if err := p.Link(link); err != nil {
		t.Fatal(err)
	}
	s := open(t, link)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 1)); err == nil {
		t.Fatalf("a port without a device gave %d bytes and no error", n)
	}
	if _, err := os.Stat(link); err == nil {
		t.Fatal("the port still exists")
	}
}
