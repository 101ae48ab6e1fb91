package replay

import (
	"context"
	"time"

	"tidemark/drivers"
)

// pace ties recorded time to this machine's monotonic clock.
type pace struct {
	began  time.Time // on this machine, when origin was due; on a whole millisecond
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

// until waits until a recorded time is due. The first one is due at once.
func (p *pace) until(ctx context.Context, done <-chan struct{}, t time.Time, factor float64) error {
	now := time.Now()
	if p.began.IsZero() {
		p.began, p.origin = now.Add(-time.Duration(now.Nanosecond())%time.Millisecond), t
	}
	wait := p.after(t, factor) - now.Sub(p.began)
	if wait < -maxLag {
		p.began = p.began.Add(-wait.Truncate(time.Millisecond))
	}
	return p.sleep(ctx, done, wait)
}

// restamp gives a due sweep times of this machine's clock. They keep the
// recorded distances, and follow the wall clock if it was set.
func (p *pace) restamp(sc *drivers.Scan, last time.Time, factor float64) {
	now := time.Now()
	late := now.Sub(p.began) - p.after(last, factor)
	live := now.Add(-late)
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
