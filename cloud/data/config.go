package data

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says where the warehouse stands and how long it keeps what.
type Config struct {
	// Dir is the service's folder: data.db, raw, rollup, lake.
	Dir string
	// RawRetention is how long readings stay in the hot store; 0 for 90 days.
	RawRetention time.Duration
	// RollupRetention is how long roll-ups stay; 0 for 5 years.
	RollupRetention time.Duration
	// LakeRetention is how long days stay in the lake; 0 for ever.
	LakeRetention time.Duration
	// FlushInterval is how long readings are in memory alone; 0 for 1 s. Under
	// load it grows to at most ten times that.
	FlushInterval time.Duration
	// FlushReadings is how many readings are in memory alone at most, up to one
	// bundle more; 0 for 500,000.
	FlushReadings int
	// SealAfter is how long after its end an hour is sealed; 0 for 5 min.
	SealAfter time.Duration
	// SealQuiet is how long nothing may have come for an hour that is sealed; 0
	// for 2 min.
	SealQuiet time.Duration
	// SealInterval is how often hours to seal are looked for; 0 for 30 s.
	SealInterval time.Duration
	// Metrics is where the service's metrics are registered; nil for nowhere.
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

func (c Config) withDefaults() Config {
	day := 24 * time.Hour
	c.RawRetention = cmp.Or(c.RawRetention, 90*day)
	c.RollupRetention = cmp.Or(c.RollupRetention, 5*365*day)
	c.FlushInterval = cmp.Or(c.FlushInterval, time.Second)
	c.FlushReadings = cmp.Or(c.FlushReadings, 500_000)
	c.SealAfter = cmp.Or(c.SealAfter, 5*time.Minute)
	c.SealQuiet = cmp.Or(c.SealQuiet, 2*time.Minute)
	c.SealInterval = cmp.Or(c.SealInterval, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
