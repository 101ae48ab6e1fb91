package outbox

import (
	"log/slog"
	"time"
)

// Config says where and how an outbox keeps its messages. Zero fields stand
// for the defaults given.
type Config struct {
	Dir            string        // folder, made if missing
	SegmentBytes   int64         // size at which a new segment begins; default 8 MiB, 64 KiB to 256 MiB
	Budget         int64         // bytes on disk in all; default 512 MiB, at least 1 MiB
	ThinAt         float64       // part of the budget at which old telemetry is thinned; default 0.8, at most 1, negative: never
	CommitInterval time.Duration // from the first pending message to its commit; default 1 s
	CommitBytes    int           // pending bytes at which it commits early; default 256 KiB
	PageSize       int           // of segments, a power of two from 512 to 65536; default 4096, see the package's benchmark
	Log            *slog.Logger  // default slog.Default()
}

const (
	defaultSegment  = 8 << 20
	defaultBudget   = 512 << 20
	defaultThinAt   = 0.8
	defaultInterval = time.Second
	defaultCommit   = 256 << 10
	defaultPage     = 4096
	pendingFactor   = 4 // Append blocks when this many times CommitBytes are pending
)

func (c Config) withDefaults() Config {
	orInt := func(v *int64, def, low, high int64) {
		if *v == 0 {
			*v = def
		}
		*v = min(max(*v, low), high)
	}
	orInt(&c.Budget, defaultBudget, 1<<20, 1<<50)
	orInt(&c.SegmentBytes, defaultSegment, 64<<10, 256<<20)
	c.SegmentBytes = max(64<<10, min(c.SegmentBytes, c.Budget/8)) // dropping the oldest must not mean dropping all
	if c.ThinAt == 0 || c.ThinAt > 1 || c.ThinAt != c.ThinAt {
		c.ThinAt = defaultThinAt
	}
	if c.CommitInterval <= 0 {
		c.CommitInterval = defaultInterval
	}
	if c.CommitBytes <= 0 {
		c.CommitBytes = defaultCommit
	}
	if c.PageSize < 512 || c.PageSize > 1<<16 || c.PageSize&(c.PageSize-1) != 0 {
		c.PageSize = defaultPage
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}
