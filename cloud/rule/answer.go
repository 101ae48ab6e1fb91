package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/nats-io/nats.go/micro"

	"tidemark/cloud/contract"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// serve answers the requests of package contract until stop is called.
func (s *Service) serve(ctx context.Context) (stop func(), err error) {
	svc, err := micro.AddService(s.conn, micro.Config{Name: "rule", Version: "1.0.0", Description: "rules and alerts"})
	if err != nil {
		return nil, fmt.Errorf("rule: offer the service: %w", err)
	}
	var answering sync.RWMutex // held for reading by each answer, and for ever once there are to be none
	stop = func() {
		_ = svc.Stop() // fails only on a closed connection
		answering.Lock()
	}
	for name, e := range map[string]struct {
		subject string
		answer  func(context.Context, []byte) any
	}{"alerts": {contract.ReqAlerts, s.answerAlerts}, "rules": {contract.ReqRules, s.answerRules}} {
		handler := func(req micro.Request) {
			if !answering.TryRLock() {
				return // the service is ending
			}
			defer answering.RUnlock()
			b, err := json.Marshal(e.answer(ctx, req.Data()))
			if err == nil {
				err = req.Respond(b)
			}
			if err != nil {
				s.cfg.Log.Warn("an answer could not be sent", "subject", e.subject, "err", err)
			}
		}
		if err := svc.AddEndpoint(name, micro.HandlerFunc(handler), micro.WithEndpointSubject(e.subject)); err != nil {
			stop()
			return nil, fmt.Errorf("rule: offer %s: %w", e.subject, err)
		}
	}
	return stop, nil
}

func (s *Service) answerAlerts(ctx context.Context, data []byte) any {
	bad := func(status int, reason, text string) any {
		return &contract.AlertsResult{Problem: &contract.Problem{Status: status, Reason: reason, Text: text}}
	}
	var q contract.AlertsQuery
	if err := json.Unmarshal(data, &q); err != nil {
		return bad(http.StatusBadRequest, "malformed", "The question is not the JSON of its type: "+err.Error()+".")
	}
	if q.State != "" && q.State != "firing" && q.State != "cleared" {
		return bad(http.StatusBadRequest, "bad_state", fmt.Sprintf("%.40q is not a state of alerts; they are firing and cleared.", q.State))
	}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	alerts, err := s.store.alerts(ctx, &q, min(limit, maxLimit))
	if err != nil {
		s.cfg.Log.Error("alerts could not be read", "err", err)
		return bad(http.StatusInternalServerError, "store", "The alerts could not be read; the log of the rule service says why.")
	}
	return &contract.AlertsResult{Alerts: alerts}
}

func (s *Service) answerRules(context.Context, []byte) any {
	s.mu.RLock()
	defer s.mu.RUnlock()
	alight := map[string]int{}
	for _, g := range s.gateways {
		for _, in := range g.instances {
			if in.phase == firing {
				alight[in.rule.name]++
			}
		}
	}
	out := &contract.RulesResult{Rules: []contract.RuleInfo{}}
	for _, r := range s.rules {
		info := contract.RuleInfo{Name: r.name, File: r.file, Site: r.site, Condition: r.when.text, ForMs: r.hold.Milliseconds(),
			Severity: r.severity, Points: r.points, Firing: alight[r.name], Error: s.errors[r.name]}
		if r.clear != nil {
			info.ClearWhen = r.clear.text
		}
		out.Rules = append(out.Rules, info)
	}
	return out
}
