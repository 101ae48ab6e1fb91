package broker

import (
	"net"
	"sync"
	"time"
)

// A corked connection holds small writes back for a moment, so that a PUBACK
// and the ack that follows it leave in one TCP segment: on a metered link each
// segment costs 52 bytes, and another 52 for its acknowledgement.
type corked struct {
	net.Conn
	mu    sync.Mutex
	held  []byte
	timer *time.Timer
	err   error // of a write that came later than its caller
}

// How long and how much a corked connection holds back.
const (
	corkFor   = 2 * time.Millisecond
	corkBytes = 1200 // about a segment
)

func cork(c net.Conn) net.Conn { return &corked{Conn: c} }

// Write takes p. An error of what was held back is that of the next Write.
func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.held = append(c.held, p...)
	if len(c.held) >= corkBytes {
		c.flush()
		if c.err != nil {
			return 0, c.err
		}
		return len(p), nil
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(corkFor, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.flush()
		})
	} else if len(c.held) == len(p) { // nothing was held before
		c.timer.Reset(corkFor)
	}
	return len(p), nil
}

// flush writes what is held. c.mu is held.
func (c *corked) flush() {
	if len(c.held) == 0 || c.err != nil {
		return
	}
	_, c.err = c.Conn.Write(c.held)
	if cap(c.held) > 4*corkBytes {
		c.held = nil
	}
	c.held = c.held[:0]
}

// Close writes what is held, such as the reason of a refusal, and closes. It
// does not wait for a write that the other end does not take.
func (c *corked) Close() error {
	if c.mu.TryLock() {
		if c.timer != nil {
			c.timer.Stop()
		}
		if err := c.Conn.SetWriteDeadline(time.Now().Add(time.Second)); err == nil {
			c.flush()
		}
		c.mu.Unlock()
	}
	return c.Conn.Close()
}
