package modbus

import (
	"fmt"
	"time"

	"tidemark/drivers"
)

const (
	// tripAfter is how many requests in a row, each with its retries, go
	// unanswered before a slave is left alone.
	tripAfter = 2
	// restMin is how long it is left alone at first, and restMax at most. Each
	// failed probe doubles the rest.
	restMin = time.Second
	restMax = 30 * time.Second
)

// breaker decides whether a slave is worth asking.
type breaker struct {
	failures int // requests in a row without an answer
	rest     time.Duration
	until    time.Time // of the rest
	last     error
}

// open reports that the slave is not to be asked now.
func (b *breaker) open(now time.Time) bool { return b.rest > 0 && now.Before(b.until) }

// probing reports that the slave has rested, and one request may find out
// whether it is back.
func (b *breaker) probing() bool { return b.rest > 0 }

// answered notes that the slave is there. It reports whether it was away.
func (b *breaker) answered() bool {
	away := b.probing()
	*b = breaker{}
	return away
}

// failed notes that the slave did not answer.
func (b *breaker) failed(now time.Time, err error) {
	b.failures++
	b.last = err
	switch {
	case b.rest > 0:
		b.rest = min(2*b.rest, restMax)
	case b.failures >= tripAfter:
		b.rest = restMin
	}
	b.until = now.Add(b.rest)
}

func (b *breaker) err(unit uint8, now time.Time) error {
	return &drivers.ReadError{Reason: drivers.ReasonBreaker, Err: fmt.Errorf(
		"unit %d failed %d times in a row and is tried again in %v; last: %w",
		unit, b.failures, b.until.Sub(now).Round(100*time.Millisecond), b.last)}
}
