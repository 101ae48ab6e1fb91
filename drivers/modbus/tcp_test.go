//go:build linux

package modbus

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tidemark/drivers"
	"tidemark/drivers/modbus/line"
)

// gateway listens as a TCP slave of which each answer goes through change, which
// returns what is really sent; nil closes the connection instead.
type gateway struct {
	address string
	conns   atomic.Int64
	change  atomic.Pointer[func(answer []byte) []byte]
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{address: ln.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			g.conns.Add(1)
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { defer c.Close(); g.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return g
}

// serve answers every question with registers that hold their own addresses.
func (g *gateway) serve(c net.Conn) {
	q := make([]byte, 12)
	for {
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		n := q[11]
		answer := append(append([]byte(nil), q[:4]...), 0, 3+2*n, q[6], q[7], 2*n)
		for i := range uint16(n) {
			answer = binary.BigEndian.AppendUint16(answer, binary.BigEndian.Uint16(q[8:])+i)
		}
		if f := g.change.Load(); f != nil {
			if answer = (*f)(answer); answer == nil {
				return
			}
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func (g *gateway) set(f func([]byte) []byte) {
	if f == nil {
		g.change.Store(nil)
		return
	}
	g.change.Store(&f)
}

func TestTCPAnswersThatDoNotFit(t *testing.T) {
	t.Parallel()
	other := func(a []byte, i int, v byte) []byte {
		c := append([]byte(nil), a...)
		c[i] ^= v
		return c
	}
	for name, c := range map[string]struct {
		reason string
		change func(a []byte) []byte
	}{
		"nothing":           {drivers.ReasonTimeout, func([]byte) []byte { return []byte{} }},
		"other transaction": {drivers.ReasonTimeout, func(a []byte) []byte { return other(a, 1, 1) }},
		"half":              {drivers.ReasonTimeout, func(a []byte) []byte { return a[:9] }},
		"wrong unit":        {drivers.ReasonProtocol, func(a []byte) []byte { return other(a, 6, 1) }},
		"wrong function":    {drivers.ReasonProtocol, func(a []byte) []byte { return other(a, 7, 7) }},
		"wrong count":       {drivers.ReasonProtocol, func(a []byte) []byte { return other(a, 8, 6) }},
		"exception":         {line.ReasonException(1), func(a []byte) []byte { return append(a[:4:4], 0, 3, a[6], a[7]|0x80, 1) }},
		"wrong protocol":    {drivers.ReasonPort, func(a []byte) []byte { return other(a, 3, 1) }},
		"a web server":      {drivers.ReasonPort, func([]byte) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }},
		"hangs up":          {drivers.ReasonPort, func([]byte) []byte { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			l := openLine(t, profile(t, "tcp: "+g.address+"\ntimeout: 100ms\nretries: 0", "unit: 1", map[string]string{"p": "holding: 7"}))
			l.until(0, "p", "")
			g.set(c.change)
			l.strict = true
			if r := l.until(0, "p", c.reason); r.Value != (drivers.Value{}) {
				t.Errorf("got %+v", r)
			}
			g.set(nil)
			if r := l.until(0, "p", ""); r.Value != drivers.IntValue(7) {
				t.Errorf("afterwards it is %v", r)
			}
		})
	}
}

// A late answer is passed over, and the one that fits is taken behind it.
func TestTCPLateAnswer(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	l := openLine(t, profile(t, "tcp: "+g.address+"\ntimeout: 600ms\nretries: 0", "unit: 1", map[string]string{"p": "holding: 7"}))
	l.until(0, "p", "")
	var late []byte
	g.set(func(a []byte) []byte {
		if late == nil {
			late = append([]byte(nil), a...)
			late[10] = 99
			return []byte{}
		}
		both := append(late, a...)
		late = nil
		return both
	})
	if got, err := l.poll(0); got["p"].Reason != drivers.ReasonTimeout {
		t.Fatal(got, err)
	}
	if got, err := l.poll(0); got["p"].Value != drivers.IntValue(7) {
		t.Fatal(got, err)
	}
	if n := g.conns.Load(); n != 1 {
		t.Errorf("it took %d connections", n)
	}
}

// A peer that closes idle connections costs no reading, and one that fell
// silent is left for a new connection.
func TestTCPConnectionsEnd(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	l := openLine(t, profile(t, "tcp: "+g.address+"\ntimeout: 600ms\nretries: 0", "unit: 1", map[string]string{"p": "holding: 7"}))
	l.until(0, "p", "")
	var closed atomic.Bool
	g.set(func(a []byte) []byte {
		if closed.Swap(true) {
			return a
		}
		return nil
	})
	if got, err := l.poll(0); got["p"].Quality != drivers.Good {
		t.Fatal(got, err)
	}
	before := g.conns.Load()
	g.set(func([]byte) []byte { return []byte{} })
	l.until(0, "p", drivers.ReasonBreaker)
	g.set(nil)
	l.until(0, "p", "")
	if g.conns.Load() == before {
		t.Error("the silent connection was kept")
	}
}

func TestTCPNobodyListens(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	l := openLine(t, profile(t, "tcp: "+address, "unit: 1", map[string]string{"p": "holding: 7"}))
	if _, err := l.poll(0); drivers.ReasonOf(err) != drivers.ReasonPort || !strings.Contains(err.Error(), address) {
		t.Error(err)
	}
}
