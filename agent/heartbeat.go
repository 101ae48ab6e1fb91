package agent

import (
	"context"
	"time"

	"tidemark/protocol"
)

// offlineFactor is how much rarer heartbeats are while the link is down.
const offlineFactor = 10

// heartbeats appends a heartbeat at start and at the profile's interval until ctx is done.
func (a *Agent) heartbeats(ctx context.Context, q queue) error {
	tick := time.NewTicker(a.profile.Cadence.Heartbeat)
	defer tick.Stop()
	for n := 0; ; n++ {
		if a.link.Online() || n%offlineFactor == 0 {
			m := &protocol.Message{Type: protocol.TypeHeartbeat}
			a.clock.Stamp(m)
			hb := a.Heartbeat(true)
			m.Body = hb.Encode()
			if err := q.Append(ctx, m, nil, false); err != nil && ctx.Err() == nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
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
