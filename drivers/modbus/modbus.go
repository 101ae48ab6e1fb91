package modbus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tidemark/drivers"
	"tidemark/drivers/modbus/line"
)

// errClosed is what a Read ends with that Close has ended.
var errClosed = &drivers.ReadError{Reason: drivers.ReasonCancelled, Err: errors.New("modbus: the bus was closed")}

// Driver returns the driver.
func Driver() drivers.Driver {
	return drivers.Driver{
		Name:    "modbus",
		Version: "1",
		Summary: "Modbus slaves on a serial line (RTU) or over TCP",
		Bus:     newBus,
		Device:  newDevice,
		Point:   newPoint,
		Open:    open,
	}
}

// sensor is one line with its slaves.
type sensor struct {
	scans   []drivers.ScanSpec
	devices []*device
	line    *line.Line
	retries int

	reading sync.Mutex // held by Read, and by Close when it closes the wire

	mu     sync.Mutex
	closed bool
	cancel context.CancelCauseFunc // ends the Read in progress
}

func open(spec drivers.BusSpec) (drivers.Sensor, error) {
	config, ok := spec.Config.(*BusConfig)
	if !ok {
		return nil, fmt.Errorf("modbus: bus %s: the configuration is a %T", spec.Name, spec.Config)
	}
	s := &sensor{line: line.New(config.line()), retries: config.Retries}
	errs := []error{config.Validate()}
	breakers := map[uint8]*breaker{}
	for i := range spec.Devices {
		d, scan, err := newSlave(&spec.Devices[i], config)
		if err != nil {
			errs = append(errs, fmt.Errorf("device %s: %w", spec.Devices[i].Name, err))
			continue
		}
		if breakers[d.unit] == nil {
			breakers[d.unit] = &breaker{}
		}
		d.breaker = breakers[d.unit]
		s.devices = append(s.devices, d)
		s.scans = append(s.scans, scan)
	}
	if len(spec.Devices) == 0 {
		errs = append(errs, errors.New("it has no devices"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("modbus: bus %s: %w", spec.Name, err)
	}
	return s, nil
}

// newSlave makes a device of a profile ready.
func newSlave(spec *drivers.DeviceSpec, bus *BusConfig) (*device, drivers.ScanSpec, error) {
	var none drivers.ScanSpec
	config, ok := spec.Config.(*DeviceConfig)
	if !ok {
		return nil, none, fmt.Errorf("the configuration is a %T", spec.Config)
	}
	if err := config.Validate(); err != nil {
		return nil, none, err
	}
	if *config.Unit == 0 || *config.Unit > 247 {
		if bus.TCP == "" {
			return nil, none, drivers.Fieldf("unit", "%d has no meaning on a serial line: slaves are 1 to 247", *config.Unit)
		}
	}
	if len(spec.Points) == 0 {
		return nil, none, errors.New("it has no points")
	}
	compiled, err := compileAll(spec, config)
	if err != nil {
		return nil, none, err
	}
	d := &device{unit: uint8(*config.Unit), config: config}
	scan := drivers.ScanSpec{Device: spec.Name, Interval: spec.Interval}
	for _, i := range order(compiled) {
		p := compiled[i]
		d.points = append(d.points, p)
		scan.Points = append(scan.Points, drivers.Point{
			Device: spec.Name, Name: spec.Points[i].Name, Unit: spec.Points[i].Unit, Type: p.typ, Scale: p.scale,
		})
	}
	d.plan = plan(d.points, config)
	scan.Groups = groups(d.plan)
	return d, scan, nil
}

// compileAll makes all points of a device ready, and refuses two that are the
// same quantity: one of them is a mistake, and nobody can say which.
func compileAll(spec *drivers.DeviceSpec, config *DeviceConfig) ([]point, error) {
	var errs []error
	compiled := make([]point, len(spec.Points))
	seen := map[point]string{}
	for i, ps := range spec.Points {
		pc, ok := ps.Config.(*PointConfig)
		if !ok {
			errs = append(errs, fmt.Errorf("point %s: the configuration is a %T", ps.Name, ps.Config))
			continue
		}
		p, err := pc.compile(config)
		if err != nil {
			errs = append(errs, fmt.Errorf("point %s: %w", ps.Name, err))
			continue
		}
		if p.size > config.MaxRegisters {
			errs = append(errs, fmt.Errorf("point %s: it needs %d registers, but max_registers is %d", ps.Name, p.size, config.MaxRegisters))
		}
		if other, dup := seen[p]; dup {
			errs = append(errs, fmt.Errorf("points %s and %s are the same: both read %s %d in the same way", other, ps.Name, p.kind, p.address))
		}
		seen[p] = ps.Name
		compiled[i] = p
	}
	return compiled, errors.Join(errs...)
}

// Scans returns one scan for each device.
func (s *sensor) Scans() []drivers.ScanSpec { return s.scans }

// Read polls device i.
func (s *sensor) Read(ctx context.Context, i int, scan *drivers.Scan) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	closed := s.closed
	s.cancel = cancel
	s.mu.Unlock()
	if closed {
		return errClosed
	}
	err := s.devices[i].poll(inner, s.line, s.retries, scan)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(context.Cause(inner), errClosed):
		return errClosed
	}
	return err
}

// Close ends a Read in progress, waits for it, and releases the line.
func (s *sensor) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.cancel != nil {
		s.cancel(errClosed)
	}
	s.mu.Unlock()
	s.reading.Lock()
	defer s.reading.Unlock()
	s.line.Close()
	return nil
}
