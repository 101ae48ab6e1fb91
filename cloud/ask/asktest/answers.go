package asktest

import (
	"slices"

	"tidemark/cloud/contract"
)

func match(want, have string) bool { return want == "" || want == have }

func inSpan(ms, from, to int64) bool { return ms >= from && (to == 0 || ms < to) }

// keep returns what of all satisfies f.
func keep[T any](all []T, f func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(all), func(x T) bool { return !f(x) })
}

// fresh is the state's freshness, with the reason for an answer that has nothing.
func (s *State) fresh(found int) contract.Freshness {
	f := s.Fresh
	if found == 0 && f.MissingReason == "" {
		f.MissingReason, f.MissingText = "none_in_range", "There are no readings in this range."
	}
	return f
}

func (p *Platform) series(s *State, q contract.SeriesQuery) contract.SeriesResult {
	found := keep(s.Series, func(x contract.Series) bool { return match(q.Site, x.Site) && match(q.Gateway, x.Gateway) })
	found, _ = page(found, "", q.Limit)
	return contract.SeriesResult{Series: found, Freshness: s.fresh(len(found)), Problem: s.Problem}
}

func (p *Platform) readings(s *State, q contract.ReadingsQuery) contract.ReadingsResult {
	wanted := func(site, gateway, point string, ms int64) bool {
		return site == q.Site && match(q.Gateway, gateway) && (len(q.Points) == 0 || slices.Contains(q.Points, point)) && inSpan(ms, q.FromMs, q.ToMs)
	}
	r := contract.ReadingsResult{Problem: s.Problem}
	if q.Rollup != "" {
		r.Rollups, r.Next = page(keep(s.Rollups, func(x contract.Rollup) bool { return wanted(x.Site, x.Gateway, x.Point, x.TimeMs) }), q.Cursor, q.Limit)
	} else {
		r.Readings, r.Next = page(keep(s.Readings, func(x contract.Reading) bool { return wanted(x.Site, x.Gateway, x.Point, x.TimeMs) }), q.Cursor, q.Limit)
	}
	r.Freshness = s.fresh(len(r.Readings) + len(r.Rollups))
	return r
}

func (p *Platform) count(s *State, q contract.CountQuery) contract.CountResult {
	r := contract.CountResult{Problem: s.Problem}
	for _, x := range s.Readings {
		if !match(q.Site, x.Site) || !match(q.Gateway, x.Gateway) || !inSpan(x.TimeMs, q.FromMs, q.ToMs) {
			continue
		}
		r.Readings++
		if x.Quality == "bad" {
			r.Bad++
		} else {
			r.Good++
		}
	}
	r.Freshness = s.fresh(int(r.Readings))
	return r
}

func (p *Platform) lease(s *State, q contract.LiveLease) contract.LiveLease {
	return contract.LiveLease{Site: q.Site, Seconds: max(s.Lease, 3)}
}

func (p *Platform) gateways(s *State, q contract.GatewaysQuery) contract.GatewaysResult {
	return contract.GatewaysResult{Problem: s.Problem,
		Gateways: keep(s.Gateways, func(x contract.GatewayState) bool { return match(q.Site, x.Site) && match(q.Gateway, x.Gateway) })}
}

func (p *Platform) messages(s *State, q contract.MessagesQuery) contract.MessagesResult {
	r := contract.MessagesResult{Problem: s.Problem}
	r.Messages, r.Next = page(keep(s.Messages, func(x contract.MessageRow) bool {
		return match(q.Site, x.Site) && match(q.Gateway, x.Gateway) && match(q.Type, x.Type) &&
			match(q.ResponseCode, x.ResponseCode) && match(q.TraceID, x.TraceID) && inSpan(x.TimeMs, q.FromMs, q.ToMs)
	}), q.Cursor, q.Limit)
	return r
}

func (p *Platform) trace(s *State, q contract.TraceQuery) contract.TraceResult {
	found := keep(s.Messages, func(x contract.MessageRow) bool { return x.TraceID == q.TraceID })
	if len(found) == 0 {
		return contract.TraceResult{TraceID: q.TraceID, Problem: s.Problem}
	}
	return contract.TraceResult{TraceID: q.TraceID, Messages: found, Hops: s.Hops, Where: s.Where, Problem: s.Problem}
}

func (p *Platform) alerts(s *State, q contract.AlertsQuery) contract.AlertsResult {
	found := keep(s.Alerts, func(x contract.Alert) bool { return match(q.Site, x.Site) && match(q.State, x.State) })
	found, _ = page(found, "", q.Limit)
	return contract.AlertsResult{Alerts: found, Problem: s.Problem}
}

func (p *Platform) rules(s *State, _ contract.RulesQuery) contract.RulesResult {
	return contract.RulesResult{Rules: s.Rules, Problem: s.Problem}
}
