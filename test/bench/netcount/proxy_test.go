//go:build linux

package netcount

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// echoServer answers every connection with what it gets, until the test ends.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func startProxy(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := Listen("127.0.0.1:0", target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp4", p.Addr(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

func exchange(t *testing.T, c *net.TCPConn, n int) {
	t.Helper()
	sent := bytes.Repeat([]byte("tidemark"), n/8)
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("read back: %v", err)
	}
	if !bytes.Equal(sent, got) {
		t.Fatal("the proxy changed bytes")
	}
}

func TestCountsPayloadAndSegments(t *testing.T) {
	p := startProxy(t, echoServer(t))
	c := dial(t, p)
	const n = 1 << 20
	exchange(t, c, n)
	got := p.Counters()
	if got.BytesUp != n || got.BytesDown != n || got.Connections != 1 {
		t.Fatalf("counted %+v, want %d bytes each way on one connection", got, n)
	}
	// No segment holds more than payloadMax, and the kernel may not need twice as many as full ones, acknowledgements included.
	full := uint64(n / payloadMax)
	for _, segments := range []uint64{got.SegmentsUp, got.SegmentsDown} {
		if segments < full || segments > 3*full {
			t.Errorf("counted %d segments for %d bytes, want %d to %d", segments, n, full, 3*full)
		}
	}
	if want := 2*n + HeaderBytes*(got.SegmentsUp+got.SegmentsDown); got.IPBytes() != want {
		t.Errorf("IPBytes is %d, want %d", got.IPBytes(), want)
	}
	if d := got.Sub(got); d != (Counters{}) {
		t.Errorf("a count less itself is %+v", d)
	}
}

func TestHalfCloseIsPassedOn(t *testing.T) {
	p := startProxy(t, echoServer(t))
	c := dial(t, p)
	if _, err := c.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "last words" {
		t.Fatalf("after a half close got %q, %v", got, err)
	}
}

func TestCutEndsAndRefusesAndRestoreServesAgain(t *testing.T) {
	p := startProxy(t, echoServer(t))
	c := dial(t, p)
	exchange(t, c, 8000)
	before := p.Counters()

	p.Cut()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading over a cut link: %v, want a reset", err)
	}
	if c, err := net.DialTimeout("tcp4", p.Addr(), time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling over a cut link: %v, %v, want refused", c, err)
	}
	if after := p.Counters(); after.BytesUp != before.BytesUp || after.SegmentsUp < before.SegmentsUp || after.Connections != 1 {
		t.Errorf("a cut changed the counts from %+v to %+v", before, after)
	}

	for range 2 { // restoring a link that is up does nothing
		if err := p.Restore(); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, dial(t, p), 8000)
	if d := p.Counters().Sub(before); d.BytesUp != 8000 || d.Connections != 1 {
		t.Errorf("after the restore counted %+v, want 8000 bytes on one connection", d)
	}
}

func TestDeadTargetEndsTheConnection(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	c := dial(t, startProxy(t, dead))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatalf("read %d bytes through a proxy without a target", n)
	}
}

func TestListenSaysWhichAddressIsTaken(t *testing.T) {
	first, err := Listen("127.0.0.1:0", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Cut()
	if _, err := Listen(first.Addr(), "127.0.0.1:1"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("listening twice on one address: %v", err)
	}
}
