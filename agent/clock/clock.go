package clock

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"time"

	"tidemark/protocol"
)

// Queue takes messages for the cloud.
type Queue interface {
	Append(ctx context.Context, m *protocol.Message, s *protocol.Schema, urgent bool) error
}

// Clock is the gateway's clock. Its methods are safe for concurrent use.
type Clock struct {
	bootID string
	boot   uint64
	log    *slog.Logger
}

// New reads which boot this is.
func New(log *slog.Logger) *Clock {
	id := bootID()
	sum := sha256.Sum256([]byte(id))
	return &Clock{bootID: id, boot: binary.BigEndian.Uint64(sum[:8]) | 1, log: log}
}

// Boot returns the boot as messages carry it: never 0, and another after each boot.
func (c *Clock) Boot() uint64 { return c.boot }

// BootID returns the system's own name of the boot.
func (c *Clock) BootID() string { return c.bootID }

// Mono returns the milliseconds since the boot, suspended time included.
func (c *Clock) Mono() uint64 { return uint64(sinceBoot().Milliseconds()) }

// earliest is a time before which no clock that was ever set can be: this
// source is younger.
var earliest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Quality returns how far the wall clock can be trusted now.
func (c *Clock) Quality() protocol.ClockQuality {
	switch {
	case time.Now().Before(earliest):
		return protocol.ClockUnknown
	case synchronised():
		return protocol.ClockSynced
	}
	return protocol.ClockSet
}

// Stamp fills in when and by which clock m was made.
func (c *Clock) Stamp(m *protocol.Message) {
	m.Time, m.Boot, m.Mono, m.Clock = time.Now().UnixMilli(), c.boot, c.Mono(), c.Quality()
}

// stepAtLeast is the smallest step of the wall clock that is told; NTP slews
// what is below 128 ms.
const stepAtLeast = 250 * time.Millisecond

// Run watches the clock and appends a clock message when the time is first
// known in this run, when its quality rises, and after each step.
func (c *Clock) Run(ctx context.Context, q Queue) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	w := watch{offset: c.offset()}
	for {
		quality := c.Quality()
		if step, tell := w.look(quality, c.offset()); tell {
			if step != 0 {
				c.log.Warn("the wall clock stepped", "dur", step.String())
			}
			if err := c.tell(ctx, q, quality, step); err != nil {
				return nil // only the end of ctx does this
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watch is what was seen of the clock before.
type watch struct {
	told   protocol.ClockQuality
	offset time.Duration
}

// look reports whether the clock is to be told, and how far it stepped: 0 for
// no step. A clock that cannot be trusted at all is not told: it maps nothing.
func (w *watch) look(quality protocol.ClockQuality, offset time.Duration) (step time.Duration, tell bool) {
	step = offset - w.offset
	w.offset = offset
	if step.Abs() < stepAtLeast {
		step = 0
	}
	tell = quality > w.told || step != 0 && quality > protocol.ClockUnknown
	if tell {
		w.told = quality
	}
	return step, tell
}

// offset is the wall clock less the time since boot: it changes only when the
// wall clock is set or slewed.
func (c *Clock) offset() time.Duration {
	return time.Duration(time.Now().UnixNano()) - sinceBoot()
}

func (c *Clock) tell(ctx context.Context, q Queue, quality protocol.ClockQuality, step time.Duration) error {
	m := &protocol.Message{Type: protocol.TypeClock}
	c.Stamp(m)
	body := protocol.Clock{Boot: m.Boot, Mono: m.Mono, UTC: m.Time, Quality: quality}
	body.StepMs = step.Milliseconds()
	m.Body = body.Encode()
	return q.Append(ctx, m, nil, true)
}
