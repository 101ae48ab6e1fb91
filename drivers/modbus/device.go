package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aldas/go-modbus-client/packet"

	"tidemark/drivers"
	"tidemark/drivers/modbus/line"
)

// retryRefused is after how long a register that the device refused is asked
// for again: its firmware may have changed, or it was not ready.
const retryRefused = 5 * time.Minute

// device is one slave as one scan reads it.
type device struct {
	unit    uint8
	config  *DeviceConfig
	points  []point // in the scan's order
	plan    []*request
	opened  int      // the wire that the plan was learned on
	joined  bool     // the plan's parts were put together again; that is tried once
	breaker *breaker // shared by all devices of the unit
}

// poll reads the device into s.
func (d *device) poll(ctx context.Context, l *line.Line, retries int, s *drivers.Scan) error {
	if now := time.Now(); d.breaker.open(now) {
		return d.breaker.err(d.unit, now)
	}
	if err := l.Connect(ctx); err != nil {
		return err
	}
	if d.opened != l.Opened() {
		d.opened = l.Opened()
		d.forget()
	}
	p := poll{device: d, line: l, retries: retries, scan: s}
	p.retest = d.dueForRetest()
	for i := 0; i < len(d.plan); {
		r := d.plan[i]
		parts, err := p.request(ctx, r)
		switch {
		case err != nil:
			return err
		case parts != nil:
			d.plan = slices.Replace(d.plan, i, i+1, parts...)
			p.split = true
		default:
			if s.Times[r.group].IsZero() {
				s.Times[r.group] = time.Now()
			}
			i++
		}
	}
	switch {
	case p.relearn:
		d.forget()
	case p.split && !d.joined:
		// A device that does not like the result refuses it once more, and then
		// its parts stay apart.
		d.plan, d.joined = rejoin(d.plan), true
	}
	return p.outcome()
}

// forget begins again with what the profile says.
func (d *device) forget() { d.plan, d.joined = plan(d.points, d.config), false }

// dueForRetest returns a refused request that is to be asked again, or nil. If
// the device refuses everything, one is asked in each poll.
func (d *device) dueForRetest() *request {
	var oldest *request
	accepted := false
	for _, r := range d.plan {
		if r.refusal == nil {
			accepted = true
		} else if oldest == nil || r.refusedAt.Before(oldest.refusedAt) {
			oldest = r
		}
	}
	if oldest != nil && accepted && time.Since(oldest.refusedAt) < retryRefused {
		return nil
	}
	return oldest
}

// poll is one poll of a device under way.
type poll struct {
	device  *device
	line    *line.Line
	retries int
	scan    *drivers.Scan
	retest  *request
	split   bool // the device refused something that could be split
	relearn bool // the device is no longer what the plan was learned on

	values int
	failed []failure
}

type failure struct {
	reason string
	err    error
}

// request reads one request's points into the scan. If the device refused it
// and it can be split, it returns the parts, which take its place. An error
// means that the poll is over.
func (p *poll) request(ctx context.Context, r *request) ([]*request, error) {
	d := p.device
	if r.refusal != nil && r != p.retest {
		p.fail(r, r.refusal)
		return nil, nil
	}
	if now := time.Now(); d.breaker.open(now) {
		p.fail(r, d.breaker.err(d.unit, now))
		return nil, nil
	}
	retries := p.retries
	if d.breaker.probing() {
		retries = 0
	}
	q := r.question(d.unit)
	data, err := p.line.Ask(ctx, q, retries)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("modbus: %v: %w", q, err)
	}
	var exc *line.ExceptionError
	switch {
	case err == nil:
		p.answered()
		p.relearn = p.relearn || r.refusal != nil
		p.take(r, data)
	case errors.As(err, &exc) && !exc.Absent():
		p.answered()
		return p.refused(r, exc), nil
	case line.ReasonOf(err) == drivers.ReasonPort:
		p.fail(r, err)
	default:
		d.breaker.failed(time.Now(), err)
		p.fail(r, err)
	}
	return nil, nil
}

// answered notes that the device is there. What it refused before it went away
// may be another device's refusal.
func (p *poll) answered() {
	if p.device.breaker.answered() {
		p.relearn = true
	}
}

// refused handles an exception: registers that the device does not have are
// isolated, so that the others can be read.
func (p *poll) refused(r *request, exc *line.ExceptionError) []*request {
	if exc.Code == 2 || exc.Code == 3 { // illegal data address, illegal data value
		if parts := r.split(p.device.points); parts != nil {
			return parts
		}
	}
	if exc.Code >= 1 && exc.Code <= 3 {
		r.refusal, r.refusedAt = exc, time.Now()
	}
	p.fail(r, exc)
	return nil
}

// take puts the values of an answer into the scan.
func (p *poll) take(r *request, data []byte) {
	if r.kind.IsBit() {
		for _, i := range r.points {
			n := p.device.points[i].address - r.address
			p.scan.Set(i, drivers.BoolValue(data[n/8]>>(n%8)&1 == 1))
			p.values++
		}
		return
	}
	regs, err := packet.NewRegisters(data, 0)
	if err != nil {
		p.fail(r, &drivers.ReadError{Reason: drivers.ReasonProtocol, Err: err})
		return
	}
	for _, i := range r.points {
		pt := &p.device.points[i]
		v, reason := pt.value(regs, pt.address-r.address)
		if reason != "" {
			p.scan.Fail(i, reason)
			p.failed = append(p.failed, failure{reason: reason})
			continue
		}
		p.scan.Set(i, v)
		p.values++
	}
}

func (p *poll) fail(r *request, err error) {
	reason := line.ReasonOf(err)
	for _, i := range r.points {
		p.scan.Fail(i, reason)
	}
	p.failed = append(p.failed, failure{reason, err})
}

// outcome is an error if nothing was read and all for one reason: then it says
// more than the reason alone.
func (p *poll) outcome() error {
	if p.values > 0 || len(p.failed) == 0 {
		return nil
	}
	first := p.failed[0]
	for _, f := range p.failed {
		if f.reason != first.reason {
			return nil
		}
	}
	if first.err == nil {
		return nil
	}
	return &drivers.ReadError{Reason: first.reason, Err: first.err}
}
