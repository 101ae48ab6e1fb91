package gateway

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxClients bounds the table of clients; the idle ones leave it first.
const maxClients = 4096

// limiters bounds the requests of each client by a token bucket.
type limiters struct {
	mu      sync.Mutex
	rate    rate.Limit
	burst   int
	clients map[string]*client
}

type client struct {
	limit *rate.Limiter
	seen  time.Time
}

func newLimiters(perSecond float64, burst int) *limiters {
	return &limiters{rate: rate.Limit(perSecond), burst: burst, clients: map[string]*client{}}
}

// wait takes a token of the client and returns 0, or how long it has to wait
// for one.
func (l *limiters) wait(name string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clients[name]
	if c == nil {
		l.makeRoom()
		c = &client{limit: rate.NewLimiter(l.rate, l.burst)}
		l.clients[name] = c
	}
	c.seen = now
	if c.limit.AllowN(now, 1) {
		return 0
	}
	r := c.limit.ReserveN(now, 1)
	defer r.CancelAt(now)
	return max(r.DelayFrom(now), time.Millisecond)
}

func (l *limiters) makeRoom() {
	if len(l.clients) < maxClients {
		return
	}
	var idlest string
	for name, c := range l.clients {
		if idlest == "" || c.seen.Before(l.clients[idlest].seen) {
			idlest = name
		}
	}
	delete(l.clients, idlest)
}
