package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"
)

// owner marks the goroutines that a sensor starts, by a profiler label that
// goroutines pass on to those they start. Unlike a comparison of all goroutines
// before and after, this works beside other tests, and beside a rig that starts
// goroutines of its own meanwhile.
type owner struct{ label string }

const labelKey = "drivertest"

var owners atomic.Int64

func newOwner() owner { return owner{fmt.Sprintf("sensor-%d", owners.Add(1))} }

// do calls f with the mark.
func (o owner) do(ctx context.Context, f func()) {
	pprof.Do(ctx, pprof.Labels(labelKey, o.label), func(context.Context) { f() })
}

// leaked waits until no goroutine with the mark is left, and returns the stacks
// of those that are still there after a time.
func (o owner) leaked(limit time.Duration) string {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause *= 2 {
		stacks := o.stacks()
		if stacks == "" || time.Now().After(deadline) {
			return stacks
		}
		time.Sleep(pause)
	}
}

func (o owner) stacks() string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return err.Error()
	}
	mark := fmt.Sprintf("%q:%q", labelKey, o.label)
	var mine []string
	for block := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(block, mark) {
			mine = append(mine, block)
		}
	}
	return strings.Join(mine, "\n\n")
}
