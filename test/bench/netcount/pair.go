//go:build linux

package netcount

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// pair is one forwarded connection. server is nil until the target has been reached.
type pair struct {
	client, server *net.TCPConn
}

// forward carries one client's connection until both directions have ended.
func (p *Proxy) forward(ctx context.Context, client *net.TCPConn) {
	c := &pair{client: client}
	if !p.enter(c) {
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	defer p.leave(c)
	var d net.Dialer
	server, err := d.DialContext(ctx, "tcp4", p.target)
	if err != nil {
		return // to the client this is what a dead target looks like: its connection ends
	}
	if !p.joined(c, server.(*net.TCPConn)) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pump(c.server, client, &p.bytesUp) })
	both.Go(func() { pump(client, c.server, &p.bytesDown) })
	both.Wait()
}

// enter registers c unless the link was cut since c was accepted.
func (p *Proxy) enter(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return false
	}
	p.pairs[c] = true
	return true
}

// joined gives c its target's side, unless a cut ended c while the target was dialled.
func (p *Proxy) joined(c *pair, server *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.pairs[c] {
		_ = server.Close()
		return false
	}
	c.server = server
	return true
}

// leave closes c in good order, unless a cut ended it already.
func (p *Proxy) leave(c *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pairs[c] {
		p.settle(c)
		c.close()
	}
}

// end closes c with RST: a cut link sends no farewell. The caller holds mu.
func (p *Proxy) end(c *pair) {
	p.settle(c)
	_ = c.client.SetLinger(0)
	if c.server != nil {
		_ = c.server.SetLinger(0)
	}
	c.close()
}

// settle moves c's counts to the ended ones, while its descriptor still knows them. The caller holds mu.
func (p *Proxy) settle(c *pair) {
	p.closed.add(c.segments())
	delete(p.pairs, c)
}

func (c *pair) close() {
	_ = c.client.Close()
	if c.server != nil {
		_ = c.server.Close()
	}
}

// pump copies one direction and counts it; its end is passed on as a half close, so the other direction may finish. An
// error ends the connection as a whole.
func pump(to, from *net.TCPConn, count *atomic.Uint64) {
	buf := make([]byte, 128<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			count.Add(uint64(n))
			if _, werr := to.Write(buf[:n]); werr != nil {
				_ = from.CloseRead()
				_ = to.CloseRead()
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = to.CloseWrite()
			return
		}
		if err != nil {
			_ = to.CloseWrite()
			_ = to.CloseRead()
			return
		}
	}
}

// segments returns what the kernel counted on the client's socket, 0 when it is closed already.
func (c *pair) segments() (up, down uint64) {
	raw, err := c.client.SyscallConn()
	if err != nil {
		return 0, 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			up, down = uint64(info.Segs_in), uint64(info.Segs_out)
		}
	})
	return up, down
}
