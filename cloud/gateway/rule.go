package gateway

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
)

type alertsInput struct {
	SiteFilter
	State string `query:"state" enum:"firing,cleared" doc:"Only alerts in this state"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many at most"`
}

type alertsBody struct {
	Alerts []contract.Alert `json:"alerts" nullable:"false"`
}

type rulesBody struct {
	Rules []contract.RuleInfo `json:"rules" nullable:"false"`
}

func (g *Gateway) ruleAPI(api huma.API) {
	get(api, huma.Operation{OperationID: "list-alerts", Path: "/api/v1/alerts", Tags: []string{"rule"}, Summary: "List alerts, newest first"}, g.alerts)
	get(api, huma.Operation{OperationID: "list-rules", Path: "/api/v1/rules", Tags: []string{"rule"}, Summary: "List the rules that are loaded"}, g.rules)
}

func (g *Gateway) alerts(ctx context.Context, in *alertsInput) (*answer[alertsBody], error) {
	r, err := ask.Do[contract.AlertsResult](ctx, g.conn, contract.ReqAlerts, contract.AlertsQuery{Site: in.Site, State: in.State, Limit: in.Limit})
	return &answer[alertsBody]{alertsBody{list(r.Alerts)}}, err
}

func (g *Gateway) rules(ctx context.Context, _ *struct{}) (*answer[rulesBody], error) {
	r, err := ask.Do[contract.RulesResult](ctx, g.conn, contract.ReqRules, contract.RulesQuery{})
	for i := range r.Rules {
		r.Rules[i].Points = list(r.Rules[i].Points)
	}
	return &answer[rulesBody]{rulesBody{list(r.Rules)}}, err
}
