package data

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

const (
	leaseTime = 15 * time.Second
	// maxLive is how many readings a live message carries at most.
	maxLive = 500
	// maxLeases bounds the sites that are followed at a time.
	maxLeases = 10_000
)

// leases are the sites whose readings somebody follows live.
type leases struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (l *leases) held(site string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.until) > 0 && time.Now().Before(l.until[site])
}

func (s *Service) lease(_ context.Context, q contract.LiveLease) (contract.LiveLease, error) {
	if !protocol.ValidName(q.Site) {
		return q, refuse(400, "bad_site", "%.80q is not the name of a site", q.Site)
	}
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for site, until := range l.until {
		if now.After(until) {
			delete(l.until, site)
		}
	}
	if len(l.until) >= maxLeases {
		return q, refuse(503, "busy", "%d sites are followed live already", maxLeases)
	}
	l.until[q.Site] = now.Add(leaseTime)
	return contract.LiveLease{Site: q.Site, Seconds: int(leaseTime / time.Second)}, nil
}

// publishLive tells the readings of an entry to who follows the site, the
// newest scans if there are too many.
func (s *Service) publishLive(a protocol.Gateway, items []item) {
	if !s.leases.held(a.Site) {
		return
	}
	out := contract.LiveReadings{Site: a.Site, Gateway: a.Name}
	total := 0
	for _, it := range items {
		if it.telemetry != nil {
			total += it.telemetry.Readings()
		}
	}
	if total == 0 {
		return
	}
	clocks := s.catalog.gateway(a).clocks
	for i := len(items) - 1; i >= 0 && len(out.Readings) < maxLive; i-- {
		if t := items[i].telemetry; t != nil {
			out.Readings = appendLive(out.Readings, items[i].msg, t, clocks)
		}
	}
	out.Skipped = total - len(out.Readings)
	data, err := json.Marshal(out)
	if err == nil {
		err = s.conn.Publish(contract.SubjectLive+contract.Key(a), data)
	}
	if err != nil {
		s.cfg.Log.Warn("live readings cannot be published", "site", a.Site, "gateway", a.Name, "err", err)
	}
}

func appendLive(out []contract.Reading, m *protocol.Message, t *protocol.Telemetry, clocks map[uint64]clock) []contract.Reading {
	parts := partsOf(m, t.Scans)
	first := t.Scans
	for k := len(parts) - 1; k >= 0; k-- {
		p := parts[k]
		first -= p.Scans
		shift := int64(0)
		if c, ok := clocks[m.Boot]; ok && m.Clock == protocol.ClockUnknown {
			shift = c.utc - int64(c.mono) + int64(p.Mono) - p.Time
		}
		for scan := first + p.Scans - 1; scan >= first; scan-- {
			for i := range t.Columns {
				r := t.Columns[i].Reading(scan)
				if r.Quality == protocol.NotRead {
					continue
				}
				if len(out) >= maxLive {
					return out
				}
				raw := t.Time(scan, i)
				out = append(out, servedReading(t.Schema.Points[i].Name, raw+shift, raw, r))
			}
		}
	}
	return out
}
