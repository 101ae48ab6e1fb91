package ask_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"tidemark/cloud/ask"
	"tidemark/cloud/ask/asktest"
	"tidemark/cloud/contract"
)

// reply makes the data service answer ReqLease as f does.
func reply(t *testing.T, conn *nats.Conn, f func(micro.Request)) {
	t.Helper()
	s, err := micro.AddService(conn, micro.Config{Name: "data", Version: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := s.AddEndpoint("q", micro.HandlerFunc(f), micro.WithEndpointSubject(contract.ReqLease)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

func lease(ctx context.Context, conn *nats.Conn) (contract.LiveLease, error) {
	return ask.Do[contract.LiveLease](ctx, conn, contract.ReqLease, contract.LiveLease{Site: "s"})
}

func TestEveryWayToFailIsTold(t *testing.T) {
	p := asktest.Start(t, asktest.State{})
	if err := p.Stop("data"); err != nil {
		t.Fatal(err)
	}
	down := func(name string, err error, reason string) {
		t.Helper()
		var u *ask.Unavailable
		if !errors.As(err, &u) || u.Reason != reason || u.Service != "data" || !strings.Contains(err.Error(), "data service") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := lease(context.Background(), p.Conn)
	down("nobody listens", err, ask.ReasonNoService)

	for name, c := range map[string]struct {
		answer func(micro.Request)
		check  func(string, error)
	}{
		"refused, in a reply without a field for it": {
			func(r micro.Request) {
				r.RespondJSON(map[string]any{"problem": contract.Problem{Status: 400, Reason: "bad_site", Text: "no"}})
			},
			func(name string, err error) {
				var p *contract.Problem
				if !errors.As(err, &p) || p.Status != 400 || p.Reason != "bad_site" {
					t.Errorf("%s: %v", name, err)
				}
			}},
		"an error of micro": {
			func(r micro.Request) { r.Error("404", "gone fishing", nil) },
			func(name string, err error) {
				var p *contract.Problem
				if !errors.As(err, &p) || p.Status != 404 || p.Text != "gone fishing" {
					t.Errorf("%s: %v", name, err)
				}
			}},
		"an error of micro with a code that is none": {
			func(r micro.Request) { r.Error("often", "gone fishing", nil) },
			func(name string, err error) {
				var p *contract.Problem
				if !errors.As(err, &p) || p.Status != 500 {
					t.Errorf("%s: %v", name, err)
				}
			}},
		"nonsense": {
			func(r micro.Request) { r.Respond([]byte("\x00nonsense")) },
			func(name string, err error) { down(name, err, ask.ReasonBadReply) }},
		"silence": {
			func(micro.Request) {},
			func(name string, err error) { down(name, err, ask.ReasonTimeout) }},
	} {
		t.Run(name, func(t *testing.T) {
			reply(t, p.Conn, c.answer)
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			_, err := lease(ctx, p.Conn)
			c.check(name, err)
		})
	}

	ctx, cancel := context.WithCancel(context.Background())
	reply(t, p.Conn, func(micro.Request) { cancel() }) // the client goes away while the service thinks
	if _, err := lease(ctx, p.Conn); !errors.Is(err, context.Canceled) {
		t.Errorf("the client went away: %v", err)
	}
	p.Conn.Close()
	_, err = lease(context.Background(), p.Conn)
	down("no NATS", err, ask.ReasonBus)
}

func TestNoDigitIsLost(t *testing.T) {
	p := asktest.Start(t, asktest.State{Readings: []contract.Reading{{Site: "s", Point: "d.p", TimeMs: 1, Value: int64(9007199254740993), Quality: "good"}}})
	r, err := ask.Do[contract.ReadingsResult](context.Background(), p.Conn, contract.ReqReadings, contract.ReadingsQuery{Site: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := r.Readings[0].Value.(json.Number); !ok || v.String() != "9007199254740993" {
		t.Errorf("%T %v", r.Readings[0].Value, r.Readings[0].Value)
	}
}
