package asktest

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
)

// Platform is a bus with the three services on it. Change its state with Set.
type Platform struct {
	Conn *nats.Conn

	mu       sync.Mutex
	state    State
	services map[string]micro.Service
	asked    map[string][]nats.Header
}

// State is what the services know.
type State struct {
	Gateways []contract.GatewayState
	Series   []contract.Series
	Readings []contract.Reading // ordered by series, then time
	Rollups  []contract.Rollup
	Messages []contract.MessageRow // newest first
	Hops     []contract.Hop
	Where    string
	Alerts   []contract.Alert
	Rules    []contract.RuleInfo
	Fresh    contract.Freshness
	Problem  *contract.Problem // set: every answer is this
	Lease    int               // seconds that a lease holds
}

// Start opens a bus in a folder of the test and lets the services answer.
func Start(t testing.TB, s State) *Platform {
	t.Helper()
	b, err := bus.Open(context.Background(), bus.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	p := &Platform{Conn: b.Conn(), state: s, services: map[string]micro.Service{}, asked: map[string][]nats.Header{}}
	for _, name := range []string{"data", "trace", "rule"} {
		if err := p.Resume(name); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Set changes what the services know.
func (p *Platform) Set(change func(*State)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.state)
}

// Asked returns the headers of every question put to subject so far.
func (p *Platform) Asked(subject string) []nats.Header {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked[subject])
}

// Stop ends a service: data, trace or rule.
func (p *Platform) Stop(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.services[name].Stop()
}

// Resume starts a service again.
func (p *Platform) Resume(name string) error {
	s, err := micro.AddService(p.Conn, micro.Config{Name: name, Version: "0.0.1"})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.services[name] = s
	p.mu.Unlock()
	for subject, h := range p.endpoints(name) {
		if err := s.AddEndpoint("q", h, micro.WithEndpointSubject(subject)); err != nil {
			return err
		}
	}
	return p.Conn.Flush()
}

func (p *Platform) endpoints(name string) map[string]micro.Handler {
	switch name {
	case "data":
		return map[string]micro.Handler{
			contract.ReqSeries:   on(p, contract.ReqSeries, p.series),
			contract.ReqReadings: on(p, contract.ReqReadings, p.readings),
			contract.ReqCount:    on(p, contract.ReqCount, p.count),
			contract.ReqLease:    on(p, contract.ReqLease, p.lease),
		}
	case "trace":
		return map[string]micro.Handler{
			contract.ReqGateways: on(p, contract.ReqGateways, p.gateways),
			contract.ReqMessages: on(p, contract.ReqMessages, p.messages),
			contract.ReqTrace:    on(p, contract.ReqTrace, p.trace),
		}
	}
	return map[string]micro.Handler{
		contract.ReqAlerts: on(p, contract.ReqAlerts, p.alerts),
		contract.ReqRules:  on(p, contract.ReqRules, p.rules),
	}
}

// on makes a handler of a function on the state.
func on[Q, R any](p *Platform, subject string, f func(*State, Q) R) micro.Handler {
	return micro.HandlerFunc(func(r micro.Request) {
		var q Q
		if err := json.Unmarshal(r.Data(), &q); err != nil {
			_ = r.Error("400", "the question does not decode: "+err.Error(), nil) // who asked runs into its timeout
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked[subject] = append(p.asked[subject], nats.Header(r.Headers()))
		_ = r.RespondJSON(f(&p.state, q)) // the same
	})
}

// Live says readings as the data service does while somebody holds a lease.
func (p *Platform) Live(t testing.TB, l contract.LiveReadings) {
	t.Helper()
	data, err := json.Marshal(l)
	if err == nil {
		err = p.Conn.Publish(contract.SubjectLive+l.Site+"."+l.Gateway, data)
	}
	if err == nil {
		err = p.Conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Await waits until ok, or fails the test after ten seconds.
func Await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s after 10 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// page cuts a page out of all, from the position that the cursor names.
func page[T any](all []T, cursor string, limit int) ([]T, string) {
	from, _ := strconv.Atoi(cursor)
	from = min(max(from, 0), len(all))
	to := len(all)
	if limit > 0 {
		to = min(from+limit, to)
	}
	next := ""
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return all[from:to], next
}
