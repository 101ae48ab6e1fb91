package console

import (
	"net/http"
	"slices"
	"strings"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// site is a site on the fleet page.
type site struct {
	Name     string
	Online   int
	Gateways []gateway
}

// gateway is a gateway on the fleet page.
type gateway struct {
	contract.GatewayState
	Balance int64  // in − (out + in flight + dropped + dead); 0 when every message is accounted for
	Newest  *epoch // the epoch heard from last
	Older   int    // how many epochs came before it
	Outage  *contract.Outage
}

// epoch is a tidemark with the parts of a drawing of it.
type epoch struct {
	contract.EpochState
	Bars []bar
}

// bar is a range of seqs in a drawing that is 1000 wide.
type bar struct {
	X, W  float64
	Class string // committed or dropped
}

func (c *Console) fleet(w http.ResponseWriter, r *http.Request) {
	answer, err := ask.Do[contract.GatewaysResult](r.Context(), c.conn, contract.ReqGateways, contract.GatewaysQuery{})
	status, text := notice(err)
	c.show(w, r, status, page{Name: "fleet", Title: "Fleet", Nav: "fleet", Notice: text, Body: sitesOf(answer.Gateways)})
}

func sitesOf(all []contract.GatewayState) []site {
	bySite := map[string]*site{}
	for _, g := range all {
		s := bySite[g.Site]
		if s == nil {
			s = &site{Name: g.Site}
			bySite[g.Site] = s
		}
		if g.Online {
			s.Online++
		}
		s.Gateways = append(s.Gateways, gatewayOf(g))
	}
	out := make([]site, 0, len(bySite))
	for _, s := range bySite {
		slices.SortFunc(s.Gateways, func(a, b gateway) int { return strings.Compare(a.Gateway, b.Gateway) })
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b site) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func gatewayOf(s contract.GatewayState) gateway {
	a := s.Account
	g := gateway{GatewayState: s, Balance: int64(a.In) - int64(a.Out+a.InFlight+a.Dropped+a.Dead)}
	if len(s.Epochs) > 0 {
		g.Newest, g.Older = epochOf(s.Epochs[0], a.In), len(s.Epochs)-1
	}
	if len(s.Outages) > 0 {
		g.Outage = &s.Outages[0]
	}
	return g
}

// maxBars bounds the drawing of one tidemark; neighbours in more ranges than
// that could not be told apart anyway.
const maxBars = 200

func epochOf(s contract.EpochState, in uint64) *epoch {
	e := &epoch{EpochState: s}
	committed, err := protocol.ParseSet(s.Ranges)
	if err != nil {
		return e // the text is shown as it stands
	}
	var dropped protocol.Set
	for _, d := range s.Dropped {
		if set, err := protocol.ParseSet(d.Ranges); err == nil {
			dropped.AddSet(set)
		}
	}
	end := in
	for _, set := range []protocol.Set{committed, dropped} {
		if n := len(set.Ranges()); n > 0 {
			end = max(end, set.Ranges()[n-1].Last)
		}
	}
	e.Bars = append(barsOf(committed, end, "committed"), barsOf(dropped, end, "dropped")...)
	return e
}

func barsOf(set protocol.Set, end uint64, class string) []bar {
	var out []bar
	for _, r := range set.Ranges() {
		b := bar{X: 1000 * float64(r.First-1) / float64(end), W: max(1000*float64(r.Count())/float64(end), 1), Class: class}
		if n := len(out); n > 0 && b.X < out[n-1].X+out[n-1].W+.5 || n >= maxBars {
			out[n-1].W = b.X + b.W - out[n-1].X
			continue
		}
		out = append(out, b)
	}
	return out
}
