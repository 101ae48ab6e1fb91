//go:build !linux

package clock

import "time"

func bootID() string { return fallbackBootID() }

func sinceBoot() time.Duration { return time.Since(started) }

// synchronised is not known here: the clock counts as set.
func synchronised() bool { return false }
