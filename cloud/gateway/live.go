package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/nats-io/nats.go"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
)

// Bounds of a live tail.
const (
	liveQueue     = 256              // batches that wait for a slow client before it is dropped
	liveHeartbeat = 15 * time.Second // a comment, so that both ends and every proxy see the connection alive
	liveWrite     = 10 * time.Second // for one write to a client that does not read
	leaseRetry    = 2 * time.Second  // after a renewal that failed
)

type liveInput struct {
	Site    string   `query:"site" required:"true" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" doc:"The site" example:"busan-plant-2"`
	Gateway string   `query:"gateway" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" doc:"Only this gateway"`
	Points  []string `query:"points" maxItems:"200" doc:"Only these points, as device.point, separated by commas. Default: all"`
}

// liveState is the data of an event state or end.
type liveState struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Text   string `json:"text,omitempty"`
}

func (g *Gateway) liveAPI(api huma.API) {
	get(api, huma.Operation{OperationID: "follow-live", Path: "/api/v1/live", Tags: []string{"data"}, Summary: "Follow the readings of a site as they arrive",
		Description: "Server-sent events. Event readings: data is {site, gateway, readings, skipped}. Event state: {state: live or stalled, reason, text}. " +
			"Event end: {state: ended, reason, text}, then the connection closes. Comments keep it alive. What was missed between two connections is not sent again: read it from /api/v1/readings.",
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}}},
	}, g.follow)
}

func (g *Gateway) follow(ctx context.Context, in *liveInput) (*huma.StreamResponse, error) {
	select {
	case g.live <- struct{}{}:
	default:
		return nil, newProblem(http.StatusServiceUnavailable, reasonLiveClients,
			fmt.Sprintf("%d live tails are open already, which is all this server allows. Close one, or poll /api/v1/readings.", cap(g.live)))
	}
	t := &tail{g: g, in: in, batches: make(chan []byte, liveQueue)}
	if err := t.open(ctx); err != nil {
		<-g.live
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer func() { <-g.live }()
		defer t.sub.Unsubscribe()
		_, w := humago.Unwrap(c)
		t.out, t.ctl = w, http.NewResponseController(w)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no") // proxies hold events back otherwise
		t.ctl.SetReadDeadline(time.Time{})        // the server's bound on reading a request would end the tail
		t.run(c.Context())
	}}, nil
}

// tail is one client that follows a site.
type tail struct {
	g       *Gateway
	in      *liveInput
	sub     *nats.Subscription
	batches chan []byte
	slow    atomic.Bool
	lease   time.Duration // how long the newest lease holds
	stalled bool
	out     http.ResponseWriter
	ctl     *http.ResponseController
}

// open subscribes first and takes the lease then, so that nothing falls between.
func (t *tail) open(ctx context.Context) error {
	gateway := t.in.Gateway
	if gateway == "" {
		gateway = "*"
	}
	var err error
	t.sub, err = t.g.conn.Subscribe(contract.SubjectLive+t.in.Site+"."+gateway, func(m *nats.Msg) {
		select {
		case t.batches <- m.Data:
		default:
			t.slow.Store(true)
		}
	})
	if err != nil {
		return &ask.Unavailable{Service: "data", Subject: contract.SubjectLive, Reason: ask.ReasonBus, Err: err}
	}
	if err := t.renew(ctx); err != nil {
		t.sub.Unsubscribe()
		return err
	}
	return nil
}

func (t *tail) renew(ctx context.Context) error {
	l, err := ask.Do[contract.LiveLease](ctx, t.g.conn, contract.ReqLease, contract.LiveLease{Site: t.in.Site})
	if err != nil {
		return err
	}
	t.lease = max(time.Duration(l.Seconds)*time.Second, time.Second)
	return nil
}

func (t *tail) run(ctx context.Context) {
	beat := time.NewTicker(liveHeartbeat)
	defer beat.Stop()
	renew := time.NewTimer(t.lease / 3)
	defer renew.Stop()
	err := t.event("state", liveState{State: "live"})
	for err == nil {
		if t.slow.Load() {
			_ = t.event("end", liveState{State: "ended", Reason: "slow_client", // a last word; it may not arrive
				Text: fmt.Sprintf("This client reads too slowly: more than %d batches wait for it. Connect again, and read what is missing from /api/v1/readings.", liveQueue)})
			return
		}
		select {
		case <-ctx.Done():
			_ = t.event("end", liveState{State: "ended", Reason: "server_stops", Text: "The server stops. Connect again in a moment."})
			return
		case b := <-t.batches:
			err = t.relay(b)
		case <-beat.C:
			err = t.write([]byte(": still here\n\n"))
		case <-renew.C:
			err = t.keep(ctx)
			renew.Reset(t.next())
		}
	}
}

// next returns when to renew the lease.
func (t *tail) next() time.Duration {
	if t.stalled {
		return leaseRetry
	}
	return t.lease / 3
}

// keep renews the lease, and tells the client when that begins or ceases to fail.
func (t *tail) keep(ctx context.Context) error {
	err := t.renew(ctx)
	if failed := err != nil; failed == t.stalled || ctx.Err() != nil {
		return nil
	}
	t.stalled = err != nil
	if !t.stalled {
		return t.event("state", liveState{State: "live"})
	}
	p := problemFrom(ctx, err)
	return t.event("state", liveState{State: "stalled", Reason: p.Reason, Text: p.Detail})
}

// relay passes a batch on, less the points that the client did not ask for.
func (t *tail) relay(data []byte) error {
	var l contract.LiveReadings
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&l); err != nil {
		t.g.cfg.Log.Warn("a live batch does not decode; it is left out", "site", t.in.Site, "err", err)
		return nil
	}
	if len(t.in.Points) > 0 {
		l.Readings = slices.DeleteFunc(l.Readings, func(r contract.Reading) bool { return !slices.Contains(t.in.Points, r.Point) })
		if len(l.Readings) == 0 {
			return nil
		}
	}
	return t.event("readings", l)
}

func (t *tail) event(name string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("gateway: encode a live event: %w", err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "event: %s\ndata: %s\n\n", name, b) // JSON has no line breaks
	return t.write([]byte(out.String()))
}

func (t *tail) write(b []byte) error {
	if err := t.ctl.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil {
		return fmt.Errorf("gateway: live: %w", err)
	}
	if _, err := t.out.Write(b); err != nil {
		return fmt.Errorf("gateway: live: %w", err)
	}
	if err := t.ctl.Flush(); err != nil {
		return fmt.Errorf("gateway: live: %w", err)
	}
	return nil
}
