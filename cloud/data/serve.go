package data

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/micro"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// The bounds of requests.
const (
	defaultLimit = 1000
	maxLimit     = 20_000
	maxPoints    = 4096
	// maxReply bounds a page in bytes, below what a NATS message holds.
	maxReply = 5 << 20
	// maxQueries is how many requests are worked on at a time, maxWaiting how
	// many more wait.
	maxQueries = 4
	maxWaiting = 64
	queryTime  = 15 * time.Second
)

// endpoints answers requests over NATS, each in a goroutine of its own.
type endpoints struct {
	svc   micro.Service
	slots chan struct{} // running
	queue chan struct{} // running or waiting
}

func (e *endpoints) stop() error {
	err := e.svc.Stop()
	for range cap(e.queue) { // wait for the requests under way
		e.queue <- struct{}{}
	}
	return err
}

func (s *Service) serve(ctx context.Context) (*endpoints, error) {
	svc, err := micro.AddService(s.conn, micro.Config{Name: "data", Version: "1.0.0", Description: "readings, roll-ups and counts"})
	if err != nil {
		return nil, fmt.Errorf("data: offer requests on NATS: %w", err)
	}
	e := &endpoints{svc: svc, slots: make(chan struct{}, maxQueries), queue: make(chan struct{}, maxQueries+maxWaiting)}
	for _, ep := range []struct {
		name, subject string
		h             func(context.Context, []byte) any
	}{
		{"series", contract.ReqSeries, answer(s.querySeries, func(p *contract.Problem) any { return contract.SeriesResult{Problem: p} })},
		{"readings", contract.ReqReadings, answer(s.queryReadings, func(p *contract.Problem) any { return contract.ReadingsResult{Problem: p} })},
		{"count", contract.ReqCount, answer(s.queryCount, func(p *contract.Problem) any { return contract.CountResult{Problem: p} })},
		{"lease", contract.ReqLease, answer(s.lease, func(p *contract.Problem) any { return problemOnly{p} })},
	} {
		if err := svc.AddEndpoint(ep.name, e.handler(ctx, s, ep.name, ep.h), micro.WithEndpointSubject(ep.subject)); err != nil {
			return nil, errors.Join(fmt.Errorf("data: offer %s: %w", ep.subject, err), svc.Stop())
		}
	}
	return e, nil
}

// problemOnly is the reply to a lease that is refused.
type problemOnly struct {
	Problem *contract.Problem `json:"problem"`
}

// answer decodes a request, and turns an error into a problem.
func answer[Q, R any](f func(context.Context, Q) (R, error), fail func(*contract.Problem) any) func(context.Context, []byte) any {
	return func(ctx context.Context, data []byte) any {
		var q Q
		if err := json.Unmarshal(data, &q); err != nil {
			return fail(refuse(400, "malformed", "the request is not the JSON that it should be: %v", err))
		}
		r, err := f(ctx, q)
		if err == nil {
			return r
		}
		var p *contract.Problem
		switch {
		case errors.As(err, &p):
			return fail(p)
		case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
			return fail(refuse(503, "too_slow", "the answer took more than %v; ask for a shorter time or fewer points", queryTime))
		}
		return fail(refuse(503, "storage", "the warehouse cannot be read: %v", err))
	}
}

func (e *endpoints) handler(ctx context.Context, s *Service, name string, h func(context.Context, []byte) any) micro.HandlerFunc {
	seen := s.metrics.queries.WithLabelValues(name)
	return func(req micro.Request) {
		select {
		case e.queue <- struct{}{}:
		default:
			s.respond(req, problemOnly{refuse(503, "busy", "%d requests are waiting; ask again later", maxWaiting)})
			return
		}
		go func() {
			defer func() { <-e.queue }()
			e.slots <- struct{}{}
			defer func() { <-e.slots }()
			start := time.Now()
			ctx, cancel := context.WithTimeout(ctx, queryTime)
			defer cancel()
			select {
			case <-s.recovered:
				s.respond(req, h(ctx, req.Data()))
			case <-ctx.Done():
				s.respond(req, problemOnly{refuse(503, "recovering", "the warehouse is still taking up what it had stored before it stopped; ask again")})
			}
			seen.Observe(time.Since(start).Seconds())
		}()
	}
}

func (s *Service) respond(req micro.Request, reply any) {
	data, err := json.Marshal(reply)
	if err == nil {
		err = req.Respond(data)
	}
	if err != nil {
		s.cfg.Log.Warn("a request could not be answered", "subject", req.Subject(), "err", err)
	}
}

func checkNames(site, gateway string) error {
	if site != "" && !protocol.ValidName(site) {
		return refuse(400, "bad_site", "%.80q is not the name of a site", site)
	}
	if gateway != "" && !protocol.ValidName(gateway) {
		return refuse(400, "bad_gateway", "%.80q is not the name of a gateway", gateway)
	}
	return nil
}

func checkRange(from, to int64) error {
	if to != 0 && to <= from {
		return refuse(400, "bad_range", "the range ends at %d, which is not after its begin at %d", to, from)
	}
	return nil
}

func checkLimit(limit int) (int, error) {
	if limit < 0 || limit > maxLimit {
		return 0, refuse(400, "bad_limit", "a limit of %d is not 1 to %d", limit, maxLimit)
	}
	if limit == 0 {
		limit = defaultLimit
	}
	return limit, nil
}
