package link

import (
	"net"
	"sync/atomic"
	"time"

	"tidemark/protocol"
)

// stats are the link's counts; but for bytesOut they are guarded by Link.mu.
type stats struct {
	online    bool
	since     time.Time
	published uint64
	acks      uint64
	committed uint64    // seqs, at the last ack
	rate      float64   // seqs committed a second, moving mean
	rateAt    time.Time // of the last ack
	ackMs     float64   // moving mean of the time from publish to ack
	offsetMs  int64
	bytesOut  atomic.Uint64
	bytesIn   atomic.Uint64
}

func (s *stats) setOnline(on bool) {
	if s.online != on {
		s.online, s.since = on, time.Now()
	}
}

func (s *stats) acked(cloudMs int64, committed uint64) {
	s.acks++
	now := time.Now()
	if dt := now.Sub(s.rateAt).Seconds(); !s.rateAt.IsZero() && dt > 0 && committed >= s.committed {
		weight := min(dt/5, 1) // over about five seconds
		s.rate += (float64(committed-s.committed)/dt - s.rate) * weight
	}
	s.rateAt, s.committed = now, committed
	if cloudMs != 0 {
		s.offsetMs = cloudMs - time.Now().UnixMilli()
	}
}

func (s *stats) ackTime(d time.Duration) {
	ms := float64(d.Milliseconds())
	if s.ackMs == 0 {
		s.ackMs = ms
	}
	s.ackMs += (ms - s.ackMs) / 8
}

// State returns the link's state for a heartbeat.
func (l *Link) State() protocol.LinkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.stats
	var eta uint64
	if left := l.store.Acked().Missing(1, l.headAt).Count(); left > 0 && s.rate > 0 {
		eta = uint64(float64(left) / s.rate * 1000)
	}
	return protocol.LinkState{Online: s.online, Session: l.session, SinceMs: uint64(time.Since(s.since).Milliseconds()),
		Published: s.published, Acks: s.acks, BytesOut: s.bytesOut.Load(), InFlight: uint64(l.flight.bytes),
		AckMs: uint64(s.ackMs), DrainEtaMs: eta}
}

// CloudOffset returns the cloud's clock less the gateway's at the last ack, in
// milliseconds.
func (l *Link) CloudOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats.offsetMs
}

// Online reports whether the receiver answers.
func (l *Link) Online() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats.online
}

// countingConn counts the bytes of a connection.
type countingConn struct {
	net.Conn
	stats *stats
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.stats.bytesOut.Add(uint64(n))
	return n, err
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.stats.bytesIn.Add(uint64(n))
	return n, err
}
