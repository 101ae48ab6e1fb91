package console

import (
	"cmp"
	"maps"
	"net/http"
	"slices"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
)

// alertsView is the page of alerts.
type alertsView struct {
	Firing  []alert
	Cleared []alert
	Rules   []contract.RuleInfo
}

// alert is an alert with its values in order.
type alert struct {
	contract.Alert
	Points []pointValue
}

type pointValue struct {
	Point string
	Value any
}

// severities in the order in which they matter.
var severities = []string{"critical", "error", "warning", "info"}

func (c *Console) alerts(w http.ResponseWriter, r *http.Request) {
	answer, err := ask.Do[contract.AlertsResult](r.Context(), c.conn, contract.ReqAlerts, contract.AlertsQuery{Limit: 200})
	var v alertsView
	if err == nil {
		v = alertsOf(answer.Alerts)
		var rules contract.RulesResult
		rules, err = ask.Do[contract.RulesResult](r.Context(), c.conn, contract.ReqRules, contract.RulesQuery{})
		v.Rules = rules.Rules
	}
	status, text := notice(err)
	c.show(w, r, status, page{Name: "alerts", Title: "Alerts", Nav: "alerts", Notice: text, Body: v})
}

// alertsOf puts what fires first, the gravest on top, then what has cleared.
func alertsOf(all []contract.Alert) alertsView {
	var v alertsView
	for _, a := range all {
		out := alert{Alert: a}
		for _, p := range slices.Sorted(maps.Keys(a.Values)) {
			out.Points = append(out.Points, pointValue{p, a.Values[p]})
		}
		if a.State == "firing" {
			v.Firing = append(v.Firing, out)
		} else {
			v.Cleared = append(v.Cleared, out)
		}
	}
	rank := func(s string) int {
		if i := slices.Index(severities, s); i >= 0 {
			return i
		}
		return len(severities)
	}
	slices.SortStableFunc(v.Firing, func(a, b alert) int {
		return cmp.Or(cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(b.FiredMs, a.FiredMs))
	})
	slices.SortStableFunc(v.Cleared, func(a, b alert) int { return cmp.Compare(b.ClearedMs, a.ClearedMs) })
	return v
}
