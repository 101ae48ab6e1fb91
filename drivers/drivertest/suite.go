package drivertest

import (
	"context"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"tidemark/drivers"
)

func (s Subject) describe(t *testing.T) {
	d := s.Driver
	if !nameForm.MatchString(d.Name) {
		t.Errorf("the name %q is not made of lower-case letters, digits, - and _", d.Name)
	}
	if d.Version == "" || d.Summary == "" || d.Open == nil {
		t.Error("Version, Summary and Open must be set")
	}
	for level, fresh := range s.levels() {
		if err := CheckConfig(level, fresh); err != nil {
			t.Error(err)
		}
	}
}

// levels returns the levels at which the driver has keys.
func (s Subject) levels() map[Level]func() drivers.Config {
	all := map[Level]func() drivers.Config{Bus: s.Driver.Bus, Device: s.Driver.Device, Point: s.Driver.Point}
	for level, fresh := range all {
		if fresh == nil {
			delete(all, level)
		}
	}
	return all
}

func (s Subject) refuse(t *testing.T) {
	levels, tried := s.levels(), map[Level]bool{}
	for _, m := range s.Mistakes {
		fresh := levels[m.Level]
		if fresh == nil {
			t.Fatalf("there is a mistake for level %s, where the driver has no keys", m.Level)
		}
		tried[m.Level] = true
		c := fresh()
		if err := yaml.Load([]byte(m.YAML), c, yaml.WithKnownFields()); err != nil {
			t.Errorf("%s %q does not even decode: %v", m.Level, m.YAML, err)
			continue
		}
		if err := CheckMistakes(c.Validate(), m.Fields); err != nil {
			t.Errorf("%s %q: %v", m.Level, m.YAML, err)
		}
	}
	for level, fresh := range levels {
		if !tried[level] && reflect.TypeOf(fresh()).Elem().NumField() > 0 {
			t.Errorf("the subject has no mistake for level %s", level)
		}
	}
}

func (s Subject) scans(t *testing.T) {
	rig := s.Start(t)
	b := s.open(t, rig.Bus)
	first := b.sensor.Scans()
	if err := CheckScans(rig.Bus, first); err != nil {
		t.Error(err)
	}
	want := b.snapshot()
	b.good(rig)
	if !reflect.DeepEqual(want, b.sensor.Scans()) {
		t.Error("Scans changed during the sensor's life")
	}
}

func (s Subject) reads(t *testing.T) {
	rig := s.Start(t)
	b := s.open(t, rig.Bus)
	b.good(rig)
	for range 5 {
		for i := range b.specs {
			_, err := b.poll(i, soon+rig.within())
			if errors.Is(err, io.EOF) && b.specs[i].Interval == 0 {
				return
			}
			if err != nil {
				t.Fatalf("scan %d was good, then: %v", i, err)
			}
			b.match(i, rig.Want)
		}
	}
}

func (s Subject) cancelledBefore(t *testing.T) {
	rig := s.Start(t)
	b := s.open(t, rig.Bus)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range b.specs {
		start := time.Now()
		err := b.read(ctx, i)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("scan %d with a cancelled context: %v", i, err)
		}
		if d := time.Since(start); d > soon {
			t.Errorf("scan %d with a cancelled context took %v", i, d)
		}
	}
	b.good(rig)
}

func (s Subject) closedUnused(t *testing.T) {
	s.open(t, s.Start(t).Bus)
}

func (s Subject) missing(t *testing.T) {
	b := s.open(t, s.Missing(t))
	for i := range b.specs {
		for range 2 {
			n, err := b.poll(i, soon+15*time.Second)
			if n > 0 {
				t.Errorf("scan %d has %d values of hardware that is not there", i, n)
			}
			if err != nil && drivers.ReasonOf(err) == drivers.ReasonFailed {
				t.Errorf("scan %d failed without a reason that says more than %q: %v", i, drivers.ReasonFailed, err)
			}
		}
	}
}

func (s Subject) cancelledWithin(t *testing.T) {
	rig, b := s.stalled(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := b.readInBackground(ctx, 0)
	b.inProgress(done, cancel)
	b.endsWith(done, context.Canceled)
	rig.Restore()
	b.good(rig)
}

func (s Subject) deadlineWithin(t *testing.T) {
	rig, b := s.stalled(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	done := b.readInBackground(ctx, 0)
	<-ctx.Done()
	b.endsWith(done, context.DeadlineExceeded)
	rig.Restore()
	b.good(rig)
}

func (s Subject) closedWithin(t *testing.T) {
	_, b := s.stalled(t)
	done := b.readInBackground(t.Context(), 0)
	b.inProgress(done, func() { b.close() })
	b.endsWith(done, nil)
}

// stalled opens a bus, has it read once, and makes its hardware silent.
func (s Subject) stalled(t *testing.T) (Rig, *bus) {
	rig := s.Start(t)
	if rig.Stall == nil {
		t.Skip("this hardware can't fall silent")
	}
	b := s.open(t, rig.Bus)
	b.good(rig)
	rig.Stall()
	return rig, b
}

func (s Subject) recovers(from func(Rig) func()) func(t *testing.T) {
	return func(t *testing.T) {
		rig := s.Start(t)
		fault := from(rig)
		if fault == nil {
			t.Skip("this hardware has no such fault")
		}
		b := s.open(t, rig.Bus)
		for range 2 {
			b.good(rig)
			fault()
			b.bad(rig)
			rig.Restore()
		}
		b.good(rig)
	}
}

func (s Subject) open(t *testing.T, spec drivers.BusSpec) *bus {
	t.Helper()
	b := &bus{t: t, owner: newOwner()}
	start := time.Now()
	b.owner.do(t.Context(), func() {
		sensor, err := s.Driver.Open(spec)
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		b.sensor, b.specs = sensor, sensor.Scans()
	})
	if d := time.Since(start); d > soon {
		t.Errorf("Open took %v: it must not touch hardware", d)
	}
	t.Cleanup(func() {
		b.close()
		if stacks := b.owner.leaked(soon); stacks != "" {
			t.Errorf("after Close there are goroutines left:\n%s", stacks)
		}
	})
	if len(b.specs) == 0 {
		t.Fatal("there are no scans")
	}
	return b
}
