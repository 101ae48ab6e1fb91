package agent

import (
	"context"
	"time"

	"tidemark/protocol"
)

// When heartbeats are sent beside the profile's interval.
const (
	// offlineFactor is how much rarer heartbeats are while the link is down.
	offlineFactor = 10
	// settle is how long after the start, and after the link has come up, a
	// heartbeat waits for what it is to tell of: first readings, first acks.
	settle = 2 * time.Second
)

// heartbeats appends a heartbeat soon after the start and each time that the
// link comes up, and at the profile's interval, until ctx is done.
func (a *Agent) heartbeats(ctx context.Context, q queue) error {
	every := a.profile.Cadence.Heartbeat
	tick := time.NewTicker(settle)
	defer tick.Stop()
	due := time.Now().Add(settle)
	online := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := a.link.Online()
		if now && !online {
			due = time.Now()
		}
		online = now
		if time.Now().Before(due) {
			continue
		}
		if due = time.Now().Add(every); !online {
			due = time.Now().Add(offlineFactor * every)
		}
		m := &protocol.Message{Type: protocol.TypeHeartbeat}
		a.clock.Stamp(m)
		m.Body = a.Heartbeat(true).Encode()
		if err := q.Append(ctx, m, nil, false); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Heartbeat returns the agent's state. If reset is set, what is counted from
// heartbeat to heartbeat starts anew.
func (a *Agent) Heartbeat(reset bool) *protocol.Heartbeat {
	up := time.Since(a.started)
	hb := &protocol.Heartbeat{
		UptimeMs: uint64(up.Milliseconds()), Agent: a.cfg.Version, Profile: a.profile.Hash, Gateway: a.gateway.String(),
		Outbox: a.outbox.State(), Link: a.link.State(),
		Clock: protocol.ClockState{Quality: a.clock.Quality(), BootID: a.clock.BootID(), CloudOffsetMs: a.link.CloudOffset()},
	}
	hb.Link.Rung, _ = a.diary.Rung()
	for _, b := range a.buses {
		hb.Buses = append(hb.Buses, b.State(reset))
	}
	if reset {
		hb.Hops = a.hops.Take()
	} else {
		hb.Hops = a.hops.Total()
	}
	if n, ok := writtenBytes(); ok && up > time.Minute {
		hb.FlashBytesPerDay = uint64(float64(n) / up.Hours() * 24)
	}
	return hb
}
