package gateway

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
)

type siteSummary struct {
	Site       string `json:"site"`
	Gateways   int    `json:"gateways" doc:"How many gateways the site has"`
	Online     int    `json:"online" doc:"How many of them are connected"`
	LastSeenMs int64  `json:"last_seen_ms" doc:"Newest commit of any of them"`
}

type sitesBody struct {
	Sites []siteSummary `json:"sites" nullable:"false"`
}

type gatewaysBody struct {
	Gateways []contract.GatewayState `json:"gateways" nullable:"false"`
}

type tidemarksBody struct {
	Site    string                `json:"site"`
	Gateway string                `json:"gateway"`
	Epochs  []contract.EpochState `json:"epochs" nullable:"false" doc:"The one heard from last first"`
	Account contract.Account      `json:"account"`
}

func (g *Gateway) fleetAPI(api huma.API) {
	get(api, huma.Operation{OperationID: "list-sites", Path: "/api/v1/sites", Tags: []string{"fleet"}, Summary: "List the sites"}, g.sites)
	get(api, huma.Operation{OperationID: "list-gateways", Path: "/api/v1/gateways", Tags: []string{"fleet"}, Summary: "List the gateways with their state",
		Description: "Whether each is online, its outbox, buses, link, clock, outages, and the account in = out + in flight + dropped + dead."}, g.gateways)
	get(api, huma.Operation{OperationID: "get-gateway", Path: "/api/v1/gateways/{site}/{gateway}", Tags: []string{"fleet"}, Summary: "Show one gateway",
		Errors: []int{http.StatusNotFound}}, g.gateway)
	get(api, huma.Operation{OperationID: "get-tidemarks", Path: "/api/v1/gateways/{site}/{gateway}/tidemarks", Tags: []string{"fleet"}, Summary: "Show what the cloud has committed of a gateway",
		Description: "For each epoch of its outbox: the exact ranges of seqs that are durably committed, and what was dropped at the gateway, and why.",
		Errors:      []int{http.StatusNotFound}}, g.tidemarks)
}

func (g *Gateway) askGateways(ctx context.Context, q contract.GatewaysQuery) ([]contract.GatewayState, error) {
	r, err := ask.Do[contract.GatewaysResult](ctx, g.conn, contract.ReqGateways, q)
	for i := range r.Gateways {
		r.Gateways[i].Epochs = list(r.Gateways[i].Epochs)
		for j := range r.Gateways[i].Epochs {
			r.Gateways[i].Epochs[j].Dropped = list(r.Gateways[i].Epochs[j].Dropped)
		}
	}
	return list(r.Gateways), err
}

func (g *Gateway) sites(ctx context.Context, _ *struct{}) (*answer[sitesBody], error) {
	all, err := g.askGateways(ctx, contract.GatewaysQuery{})
	if err != nil {
		return nil, err
	}
	bySite := map[string]*siteSummary{}
	for _, w := range all {
		s := bySite[w.Site]
		if s == nil {
			s = &siteSummary{Site: w.Site}
			bySite[w.Site] = s
		}
		s.Gateways++
		if w.Online {
			s.Online++
		}
		s.LastSeenMs = max(s.LastSeenMs, w.LastSeenMs)
	}
	out := &answer[sitesBody]{sitesBody{Sites: []siteSummary{}}}
	for _, s := range bySite {
		out.Body.Sites = append(out.Body.Sites, *s)
	}
	slices.SortFunc(out.Body.Sites, func(a, b siteSummary) int { return strings.Compare(a.Site, b.Site) })
	return out, nil
}

func (g *Gateway) gateways(ctx context.Context, in *SiteFilter) (*answer[gatewaysBody], error) {
	all, err := g.askGateways(ctx, contract.GatewaysQuery{Site: in.Site})
	return &answer[gatewaysBody]{gatewaysBody{all}}, err
}

func (g *Gateway) oneGateway(ctx context.Context, in *gatewayPath) (*contract.GatewayState, error) {
	all, err := g.askGateways(ctx, contract.GatewaysQuery{Site: in.Site, Gateway: in.Gateway})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, newProblem(http.StatusNotFound, reasonNoGateway,
			fmt.Sprintf("No gateway %s/%s has ever connected. Check both names; /api/v1/gateways lists those that are known.", in.Site, in.Gateway))
	}
	return &all[0], nil
}

func (g *Gateway) gateway(ctx context.Context, in *gatewayPath) (*answer[contract.GatewayState], error) {
	one, err := g.oneGateway(ctx, in)
	if err != nil {
		return nil, err
	}
	return &answer[contract.GatewayState]{*one}, nil
}

func (g *Gateway) tidemarks(ctx context.Context, in *gatewayPath) (*answer[tidemarksBody], error) {
	one, err := g.oneGateway(ctx, in)
	if err != nil {
		return nil, err
	}
	return &answer[tidemarksBody]{tidemarksBody{Site: one.Site, Gateway: one.Gateway, Epochs: one.Epochs, Account: one.Account}}, nil
}

// list returns s, or an empty list instead of none: JSON should say [], not null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
