package drivertest

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"tidemark/drivers"
)

// bus is an open bus under test, read as the agent reads it.
type bus struct {
	t       *testing.T
	owner   owner
	sensor  drivers.Sensor
	specs   []drivers.ScanSpec
	scan    drivers.Scan
	closing sync.Once
}

func (r Rig) within() time.Duration {
	if r.Within == 0 {
		return 15 * time.Second
	}
	return r.Within
}

func (b *bus) snapshot() []drivers.ScanSpec {
	c := slices.Clone(b.specs)
	for i := range c {
		c[i].Points = slices.Clone(c[i].Points)
		c[i].Groups = slices.Clone(c[i].Groups)
	}
	return c
}

func (b *bus) close() {
	b.closing.Do(func() {
		start := time.Now()
		b.owner.do(context.Background(), func() {
			if err := b.sensor.Close(); err != nil {
				b.t.Errorf("Close: %v", err)
			}
		})
		if d := time.Since(start); d > soon {
			b.t.Errorf("Close took %v", d)
		}
	})
}

// read does one poll and checks its outcome against the contract.
func (b *bus) read(ctx context.Context, i int) error {
	spec := &b.specs[i]
	b.scan.Reset(spec)
	before := time.Now()
	var err error
	b.owner.do(ctx, func() { err = b.sensor.Read(ctx, i, &b.scan) })
	if err != nil {
		if reason := drivers.ReasonOf(err); !errors.Is(err, io.EOF) && !reasonForm.MatchString(reason) {
			b.t.Errorf("scan %d: the reason %q is not a short machine-readable word", i, reason)
		}
		return err
	}
	if cerr := CheckScan(spec, &b.scan, before, time.Now()); cerr != nil {
		b.t.Errorf("scan %d: %v", i, cerr)
	}
	return nil
}

// poll does one poll in a bounded time and returns how many points have a value.
func (b *bus) poll(i int, limit time.Duration) (values int, err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), limit)
	defer cancel()
	if err := b.read(ctx, i); err != nil {
		return 0, err
	}
	for _, r := range b.scan.Readings {
		if r.Quality == drivers.Good {
			values++
		}
	}
	return values, nil
}

// good polls every scan until all of its points are good at once. A self-paced
// scan needs to bring one good reading only, since it brings what there is.
func (b *bus) good(rig Rig) {
	b.t.Helper()
	deadline := time.Now().Add(rig.within())
	for i := range b.specs {
		for {
			n, err := b.poll(i, time.Until(deadline)+soon)
			if err == nil && (n == len(b.specs[i].Points) || n > 0 && b.specs[i].Interval == 0) {
				b.match(i, rig.Want)
				break
			}
			if time.Now().After(deadline) {
				b.t.Fatalf("scan %d: after %v there are %d good readings of %d: %v, %v",
					i, rig.within(), n, len(b.specs[i].Points), err, b.scan.Readings)
			}
			b.pause()
		}
	}
}

// bad polls the first scan until none of its points is good. What is good until
// then must have been read before the fault, so its value must still be right.
func (b *bus) bad(rig Rig) {
	b.t.Helper()
	deadline := time.Now().Add(rig.within())
	for {
		n, err := b.poll(0, time.Until(deadline)+soon)
		if n == 0 {
			return
		}
		b.match(0, rig.Want)
		if time.Now().After(deadline) {
			b.t.Fatalf("scan 0: %v after the fault %d readings are still good: %v", rig.within(), n, err)
		}
		b.pause()
	}
}

// pause lets the poll's interval be more than nothing, as it is in the agent.
func (b *bus) pause() {
	select {
	case <-b.t.Context().Done():
	case <-time.After(5 * time.Millisecond):
	}
}

// match compares good readings with the values that they must have.
func (b *bus) match(i int, want map[string]drivers.Value) {
	b.t.Helper()
	for k, r := range b.scan.Readings {
		p := b.specs[i].Points[k]
		w, known := want[p.Device+"."+p.Name]
		if known && r.Quality == drivers.Good && !same(r.Value, w) {
			b.t.Errorf("point %s.%s is %+v, want %+v", p.Device, p.Name, r.Value, w)
		}
	}
}

func same(a, b drivers.Value) bool {
	if a.Type() == drivers.Float && b.Type() == drivers.Float {
		return math.Float64bits(a.Float()) == math.Float64bits(b.Float())
	}
	return a == b
}

func (b *bus) readInBackground(ctx context.Context, i int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- b.read(ctx, i) }()
	return done
}

// inProgress calls end when a Read has been under way for a moment.
func (b *bus) inProgress(done <-chan error, end func()) {
	b.t.Helper()
	select {
	case err := <-done:
		b.t.Fatalf("Stall must make a Read wait for at least %v, but it returned %v", waits, err)
	case <-time.After(waits):
	}
	end()
}

// endsWith waits for a Read to end soon; nil accepts any error.
func (b *bus) endsWith(done <-chan error, want error) {
	b.t.Helper()
	select {
	case err := <-done:
		if err == nil {
			b.t.Error("an interrupted Read returned no error")
		}
		if want != nil && !errors.Is(err, want) {
			b.t.Errorf("an interrupted Read returned %v, want %v", err, want)
		}
	case <-time.After(soon):
		b.t.Fatalf("Read did not end within %v", soon)
	}
}
