package trace

import (
	"cmp"
	"context"
	"slices"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// How much of a gateway's past is shown where several gateways are asked for.
const (
	briefOutages = 3
	briefDropped = 10
)

// queryGateways answers [contract.ReqGateways], ordered by site and gateway.
func (s *Service) queryGateways(_ context.Context, q *contract.GatewaysQuery) (*contract.GatewaysResult, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := &contract.GatewaysResult{Gateways: []contract.GatewayState{}}
	for _, addr := range s.addresses(q.Site, q.Gateway) {
		st, err := s.state(addr)
		if err != nil {
			return nil, err
		}
		out.Gateways = append(out.Gateways, st)
	}
	if len(out.Gateways) > 1 {
		for i := range out.Gateways {
			g := &out.Gateways[i]
			g.Outages = g.Outages[:min(len(g.Outages), briefOutages)]
			for j := range g.Epochs {
				g.Epochs[j].Dropped = g.Epochs[j].Dropped[:min(len(g.Epochs[j].Dropped), briefDropped)]
			}
		}
	}
	return out, nil
}

// addresses returns the gateways that anything is known of.
func (s *Service) addresses(site, name string) []protocol.Gateway {
	known := map[protocol.Gateway]bool{}
	for g := range s.gateways {
		known[g] = true
	}
	for g := range s.presence {
		known[g] = true
	}
	for g := range s.snapshots {
		known[g] = true
	}
	var out []protocol.Gateway
	for g := range known {
		if (site == "" || g.Site == site) && (name == "" || g.Name == name) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b protocol.Gateway) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// known returns what the ledger has of a gateway, and its tidemarks: those of
// its newest entry, or of the snapshot if that is newer.
func (s *Service) known(addr protocol.Gateway) (*gateway, protocol.Tidemarks, error) {
	g := s.gateways[addr]
	if g == nil {
		g = &gateway{addr: addr}
	}
	text := g.tidemarks
	if snap, ok := s.snapshots[addr]; ok && (text == "" || snap.Sequence > g.sequence) {
		text = snap.Tidemarks
	}
	marks, err := protocol.ParseTidemarks(text)
	return g, marks, err
}

func (s *Service) state(addr protocol.Gateway) (contract.GatewayState, error) {
	g, marks, err := s.known(addr)
	if err != nil {
		return contract.GatewayState{}, err
	}
	f, p := &g.facts, s.presence[addr]
	st := contract.GatewayState{Site: addr.Site, Gateway: addr.Name, Online: p.Online, Session: p.Session, SinceMs: p.Since, LastSeenMs: g.seenMs,
		Agent: cmp.Or(f.Agent, p.Agent), Profile: cmp.Or(f.Profile, p.Profile), HeartbeatMs: f.HeartbeatMs, Outbox: f.Outbox,
		Buses: slices.Clone(f.Buses), Link: f.Link, Clock: f.Clock, Outages: slices.Clone(f.Outages), Epochs: []contract.EpochState{}}
	if p.Online { // a birth is newer than what the newest heartbeat says of versions
		st.Agent, st.Profile = cmp.Or(p.Agent, st.Agent), cmp.Or(p.Profile, st.Profile)
	}
	for _, m := range marks {
		es := contract.EpochState{Epoch: protocol.EpochString(m.Epoch), Dropped: []contract.DroppedInfo{}}
		arrived := m.Committed
		if l := f.Epochs[es.Epoch]; l != nil {
			es.Dropped = append(es.Dropped, l.Infos...)
			arrived = arrived.Minus(l.Dropped.Set) // the tidemark covers what was given up, and that never came
		}
		es.Ranges, es.Committed = arrived.String(), arrived.Count()
		st.Epochs = append(st.Epochs, es)
	}
	if len(marks) > 0 {
		st.Account = s.accountOf(g, marks[0])
	}
	return st, nil
}

func (s *Service) accountOf(g *gateway, m protocol.Tidemark) contract.Account {
	var dropped, dead protocol.Set
	var next uint64
	epoch := protocol.EpochString(m.Epoch)
	if l := g.facts.Epochs[epoch]; l != nil {
		dropped, dead = l.Dropped.Set, l.Dead.Set
	}
	if g.facts.Outbox != nil && g.facts.HeartbeatEpoch == epoch {
		next = g.facts.Outbox.NextSeq
	}
	return account(m.Committed, dropped, dead, next)
}
