package sampler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"tidemark/agent/clock"
	"tidemark/agent/hops"
	"tidemark/agent/profile"
	"tidemark/drivers"
	"tidemark/protocol"
)

// Queue takes messages for the cloud. Append blocks while it cannot take more.
type Queue interface {
	Append(ctx context.Context, m *protocol.Message, s *protocol.Schema, urgent bool) error
}

// Config is what a bus needs from its agent.
type Config struct {
	// Every is the time between two messages of the same scan.
	Every time.Duration
	Queue Queue
	Clock *clock.Clock
	Hops  *hops.Recorder
	Log   *slog.Logger
}

// Bus samples one bus of a profile.
type Bus struct {
	cfg    Config
	spec   profile.Bus
	sensor drivers.Sensor
	scans  []drivers.ScanSpec
	status status
	taps   taps
}

// filled is one scan on its way from the poller to the gatherer.
type filled struct {
	index int
	scan  *drivers.Scan
}

// ahead is how many scans the poller may be ahead of the gatherer.
const ahead = 64

// New opens the driver of a bus. It touches no hardware and starts nothing.
func New(spec profile.Bus, cfg Config) (*Bus, error) {
	sensor, err := spec.Driver.Open(spec.Spec)
	if err != nil {
		return nil, fmt.Errorf("sampler: bus %s: %w", spec.Name, err)
	}
	b := &Bus{cfg: cfg, spec: spec, sensor: sensor, scans: sensor.Scans()}
	b.cfg.Log = cfg.Log.With("bus", spec.Name, "driver", spec.Driver.Name)
	b.status.init(spec.Name, spec.Driver.Name, b.scans)
	return b, nil
}

// patience is how long a driver may take to come back once ctx is done. One
// that hangs in the kernel for longer is left behind: the agent must end, and
// what was read must be kept.
const patience = time.Second

// Run samples until ctx is done, then closes the driver and appends what was
// gathered.
func (b *Bus) Run(ctx context.Context) error {
	full := make(chan filled, ahead)
	free := make(chan *drivers.Scan, ahead+1)
	gathered := make(chan error, 1)
	polled, end := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		err := b.gather(ctx, full, free, end)
		cancel() // who polls waits for nobody
		gathered <- err
	}()
	go func() {
		defer close(polled)
		b.poll(ctx, full, free)
		if err := b.sensor.Close(); err != nil {
			b.cfg.Log.Warn("closing the bus failed", "err", err)
		}
	}()
	b.await(ctx, polled)
	close(end)
	return <-gathered
}

// await returns when polling has ended, or when ctx is done and the driver
// does not come back.
func (b *Bus) await(ctx context.Context, polled <-chan struct{}) {
	select {
	case <-polled:
		return
	case <-ctx.Done():
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-polled:
	case <-t.C:
		b.cfg.Log.Error("the driver does not come back, and is left behind; is its port stuck?", "dur", patience.String())
	}
}

// poll reads each scan when it is due until ctx is done or no scan is left.
func (b *Bus) poll(ctx context.Context, full chan<- filled, free <-chan *drivers.Scan) {
	sched := newSchedule(b.scans, time.Now())
	for {
		i, due, ok := sched.next()
		if !ok || !sleepUntil(ctx, due) {
			return
		}
		began := time.Now()
		if b.scans[i].Interval > 0 {
			b.status.late(began.Sub(due))
		}
		var scan *drivers.Scan
		select {
		case scan = <-free:
		default:
			scan = new(drivers.Scan)
		}
		scan.Reset(&b.scans[i])
		switch err := b.read(ctx, i, scan); {
		case err == nil:
			b.status.works(i, b.cfg.Log)
		case errors.Is(err, io.EOF):
			sched.drop(i)
			continue
		case ctx.Err() != nil:
			return
		default:
			failAll(scan, drivers.ReasonOf(err))
			b.status.failed(i, err, b.cfg.Log)
		}
		stampMissing(scan, began)
		if b.scans[i].Interval > 0 {
			b.cfg.Hops.Observe(protocol.Sampled, time.Since(began))
		}
		if !hand(ctx, full, filled{i, scan}) {
			return
		}
		sched.done(i, time.Now())
	}
}

// hand gives a scan to the gatherer, also one that was read while ctx ended.
func hand(ctx context.Context, full chan<- filled, f filled) bool {
	select {
	case full <- f:
		return true
	default:
	}
	select {
	case full <- f:
		return true
	case <-ctx.Done():
		return false
	}
}

// read calls the driver. A panic in it is a failed read.
func (b *Bus) read(ctx context.Context, i int, s *drivers.Scan) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if b.status.failing(i) != drivers.ReasonPanic {
				b.cfg.Log.Error("the driver panicked", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
			err = &drivers.ReadError{Reason: drivers.ReasonPanic, Err: fmt.Errorf("the driver panicked: %v", p)}
		}
	}()
	return b.sensor.Read(ctx, i, s)
}

func failAll(s *drivers.Scan, reason string) {
	for i := range s.Readings {
		s.Fail(i, reason)
	}
}

// stampMissing gives a group without a time the time at which the poll began:
// a reading that failed has a time too.
func stampMissing(s *drivers.Scan, began time.Time) {
	for i := range s.Times {
		if s.Times[i].IsZero() {
			s.Times[i] = began
		}
	}
}

func sleepUntil(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
