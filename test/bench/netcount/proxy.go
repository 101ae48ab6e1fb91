//go:build linux

package netcount

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// HeaderBytes is what one segment costs beside its payload: 20 B of IPv4 and 32 B of TCP with timestamps (RFC 791, 9293, 7323).
const HeaderBytes = 52

// Ethernet's 1500 B leave payloadMax in a segment. The size that TCP announces excludes its options (RFC 6691).
const (
	payloadMax  = 1500 - HeaderBytes
	segmentSize = 1460
)

// Proxy forwards connections from its own address to a target and counts them. Its methods may be called from any goroutine.
type Proxy struct {
	addr, target string

	mu       sync.Mutex
	listener net.Listener   // nil while the link is cut
	up       chan struct{}  // closed while the link is up
	pairs    map[*pair]bool // live connections
	closed   Counters       // what connections that ended have carried

	bytesUp, bytesDown atomic.Uint64
}

// Counters is what went over the link since the proxy was made. Up is from client to target.
type Counters struct {
	BytesUp, BytesDown       uint64 // TCP payload
	SegmentsUp, SegmentsDown uint64 // TCP segments, those without payload too
	Connections              uint64 // accepted, live and ended
}

// IPBytes is the size of it all on the wire above Ethernet: payload and HeaderBytes for each segment.
func (c Counters) IPBytes() uint64 {
	return c.BytesUp + c.BytesDown + HeaderBytes*(c.SegmentsUp+c.SegmentsDown)
}

// Sub returns what was added since an earlier count.
func (c Counters) Sub(earlier Counters) Counters {
	return Counters{
		BytesUp: c.BytesUp - earlier.BytesUp, BytesDown: c.BytesDown - earlier.BytesDown,
		SegmentsUp: c.SegmentsUp - earlier.SegmentsUp, SegmentsDown: c.SegmentsDown - earlier.SegmentsDown,
		Connections: c.Connections - earlier.Connections,
	}
}

// Listen binds addr ("127.0.0.1:0" for a free port) and forwards to target once Run is called.
func Listen(addr, target string) (*Proxy, error) {
	l, err := listen(addr)
	if err != nil {
		return nil, err
	}
	p := &Proxy{addr: l.Addr().String(), target: target, listener: l, up: make(chan struct{}), pairs: map[*pair]bool{}}
	close(p.up)
	return p, nil
}

func listen(addr string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var optErr error
		if err := c.Control(func(fd uintptr) {
			optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, segmentSize)
		}); err != nil {
			return err
		}
		return optErr
	}}
	l, err := lc.Listen(context.Background(), "tcp4", addr)
	if err != nil {
		return nil, fmt.Errorf("netcount: listen on %s: %w", addr, err)
	}
	return l, nil
}

// Addr is the address that clients dial. It stays the same over Cut and Restore.
func (p *Proxy) Addr() string { return p.addr }

// Run forwards until ctx ends, then closes the listener and every connection. It returns an error only when the address
// cannot be served any more.
func (p *Proxy) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, p.Cut)
	defer stop()
	var forwards errgroup.Group
	defer func() { p.Cut(); _ = forwards.Wait() }()
	for {
		l, err := p.waitUp(ctx)
		if err != nil {
			return nil // ctx ended: that is how Run is stopped
		}
		conn, err := l.Accept()
		switch {
		case err == nil:
			forwards.Go(func() error { p.forward(ctx, conn.(*net.TCPConn)); return nil })
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, net.ErrClosed): // closed means cut: wait for the link to come back
			return fmt.Errorf("netcount: accept on %s: %w", p.addr, err)
		}
	}
}

func (p *Proxy) waitUp(ctx context.Context) (net.Listener, error) {
	for {
		p.mu.Lock()
		l, up := p.listener, p.up
		p.mu.Unlock()
		if l != nil && ctx.Err() == nil {
			return l, nil
		}
		select {
		case <-up:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Cut resets every connection and refuses new ones until Restore. What is in the sockets' buffers is lost, as on a real cut.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
		p.up = make(chan struct{})
	}
	for c := range p.pairs {
		p.end(c)
	}
}

// Restore lets clients connect again, on the same address. On a link that is up it does nothing.
func (p *Proxy) Restore() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return nil
	}
	l, err := listen(p.addr)
	if err != nil {
		return err
	}
	p.listener = l
	close(p.up)
	return nil
}

// Counters returns what the link has carried so far, live connections included.
func (p *Proxy) Counters() Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := p.closed
	for c := range p.pairs {
		sum.add(c.segments())
	}
	sum.BytesUp, sum.BytesDown = p.bytesUp.Load(), p.bytesDown.Load()
	return sum
}

func (c *Counters) add(up, down uint64) {
	c.SegmentsUp += up
	c.SegmentsDown += down
	c.Connections++
}
