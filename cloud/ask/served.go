package ask

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// markInterval is how often, at most, the asker says how far it has served.
const markInterval = time.Second

// Served tells the trace service up to which position readings have been
// handed to somebody: the last hop. Marks are hints for the trace, so one that
// cannot be published is not kept.
type Served struct {
	conn    *nats.Conn
	mu      sync.Mutex
	pending contract.HopMark
	said    uint64
	last    time.Time
}

// NewServed returns a Served that says nothing yet.
func NewServed(conn *nats.Conn) *Served { return &Served{conn: conn} }

// Note remembers that an answer that reaches through was written.
func (s *Served) Note(through uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if through > s.pending.Through {
		s.pending = contract.HopMark{Stage: protocol.Served, Through: through, TimeUs: time.Now().UnixMicro()}
		s.say()
	}
}

// say publishes what is pending, unless the last mark is too fresh.
func (s *Served) say() {
	if s.pending.Through <= s.said || time.Since(s.last) < markInterval {
		return
	}
	data, err := json.Marshal(s.pending)
	if err == nil && s.conn.Publish(contract.SubjectHop+string(protocol.Served), data) == nil {
		s.said, s.last = s.pending.Through, time.Now()
	}
}

// Run, until ctx is done, says what Note had to hold back.
func (s *Served) Run(ctx context.Context) {
	tick := time.NewTicker(markInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.mu.Lock()
			s.say()
			s.mu.Unlock()
		}
	}
}
