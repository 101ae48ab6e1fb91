package replay

import (
	"context"
	"time"

	"tidemark/drivers"
)

// pace ties recorded time to this machine's monotonic clock.
type pace struct {
	began  time.Time // on this machine, when origin was due
	origin time.Time // recorded
	timer  *time.Timer
}

// after returns how long after began a recorded time is due.
func (p *pace) after(t time.Time, factor float64) time.Duration {
	d := t.Sub(p.origin)
	if factor == 1 {
		return d
	}
	const most = float64(1 << 61) // 73 years
	return time.Duration(min(max(float64(d)/factor, -most), most))
}

// slack keeps live times, which are rounded to milliseconds, inside the poll.
const slack = 2 * time.Millisecond

// until waits until a sweep from first to last is due. The first sweep begins at
// once. A live one never began before this poll did: a caller that comes late
// moves the rest of the recording.
func (p *pace) until(ctx context.Context, done <-chan struct{}, first, last time.Time, factor float64, live bool) error {
	now := time.Now()
	if p.began.IsZero() {
		p.began, p.origin = now, first
	}
	if live {
		if late := now.Add(slack).Sub(p.began) - p.after(first, factor); late > 0 {
			p.began = p.began.Add(late)
		}
		over := time.Duration(p.began.Nanosecond()) % time.Millisecond
		p.began = p.began.Add((time.Millisecond - over) % time.Millisecond)
		return p.sleep(ctx, done, p.after(last, factor)+slack-now.Sub(p.began))
	}
	wait := p.after(last, factor) - now.Sub(p.began)
	if wait < -maxLag {
		p.began = p.began.Add(-wait)
	}
	return p.sleep(ctx, done, wait)
}

// restamp gives a due sweep times of this machine's clock. They keep the
// recorded distances, and follow the wall clock if it was set.
func (p *pace) restamp(sc *drivers.Scan, last time.Time, factor float64) {
	now := time.Now()
	live := now.Add(p.after(last, factor) - now.Sub(p.began))
	live = live.Add(nearestMs(live))
	for i, t := range sc.Times {
		if sc.Readings[i].Quality != drivers.NotRead {
			ago := time.Duration(float64(last.Sub(t)) / factor)
			sc.Times[i] = live.Add(-ago.Round(time.Millisecond))
		}
	}
}

// nearestMs returns what takes t to the nearest whole millisecond. Time.Round
// would strip the monotonic reading.
func nearestMs(t time.Time) time.Duration {
	over := time.Duration(t.Nanosecond()) % time.Millisecond
	if over < time.Millisecond/2 {
		return -over
	}
	return time.Millisecond - over
}

// sleep waits for d, less if ctx ends or done is closed.
func (p *pace) sleep(ctx context.Context, done <-chan struct{}, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if p.timer == nil {
		p.timer = time.NewTimer(d)
	} else {
		p.timer.Reset(d)
	}
	select {
	case <-p.timer.C:
		return nil
	case <-ctx.Done():
		p.timer.Stop()
		return ctx.Err()
	case <-done:
		p.timer.Stop()
		return ErrClosed
	}
}
