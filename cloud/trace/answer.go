package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/nats-io/nats.go/micro"

	"tidemark/cloud/contract"
)

// maxAnswers is how many requests are answered at a time; each reads the
// ledger by a connection of its own.
const maxAnswers = 4

// maxReply is the largest reply in bytes, below the server's MaxPayload.
const maxReply = 7 << 20

// serve answers the requests of package contract until stop is called.
func (s *Service) serve(ctx context.Context) (stop func(), err error) {
	svc, err := micro.AddService(s.conn, micro.Config{Name: "trace", Version: "1.0.0", Description: "hop ledger, message list, state of gateways"})
	if err != nil {
		return nil, fmt.Errorf("trace: offer the service: %w", err)
	}
	var busy sync.RWMutex // held for reading by each answer, and for ever once there are to be none
	stop = func() {
		_ = svc.Stop() // fails only on a closed connection
		busy.Lock()
	}
	room := make(chan struct{}, maxAnswers)
	handle := func(answer func(context.Context, []byte) any) micro.HandlerFunc {
		return func(req micro.Request) {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				defer func() { <-room }()
				if !busy.TryRLock() {
					return // the service is ending
				}
				defer busy.RUnlock()
				s.reply(req, answer(ctx, req.Data()))
			}()
		}
	}
	for name, e := range map[string]struct {
		subject string
		answer  func(context.Context, []byte) any
	}{
		"gateways": {contract.ReqGateways, answering(s, s.queryGateways, func(r *contract.GatewaysResult, p *contract.Problem) { r.Problem = p })},
		"messages": {contract.ReqMessages, answering(s, s.queryMessages, func(r *contract.MessagesResult, p *contract.Problem) { r.Problem = p })},
		"trace":    {contract.ReqTrace, answering(s, s.queryTrace, func(r *contract.TraceResult, p *contract.Problem) { r.Problem = p })},
	} {
		if err := svc.AddEndpoint(name, handle(e.answer), micro.WithEndpointSubject(e.subject)); err != nil {
			stop()
			return nil, fmt.Errorf("trace: offer %s: %w", e.subject, err)
		}
	}
	return stop, nil
}

// answering decodes a question, answers it, and puts what went wrong into the
// answer as a problem.
func answering[Q, R any](s *Service, f func(context.Context, *Q) (*R, error), fail func(*R, *contract.Problem)) func(context.Context, []byte) any {
	return func(ctx context.Context, data []byte) any {
		var q Q
		if err := json.Unmarshal(data, &q); err != nil {
			return failed(fail, &contract.Problem{Status: http.StatusBadRequest, Reason: "malformed", Text: "The question is not the JSON of its type: " + err.Error() + "."})
		}
		r, err := f(ctx, &q)
		if err == nil {
			return r
		}
		var p *contract.Problem
		if !errors.As(err, &p) {
			s.cfg.Log.Error("a question could not be answered from the ledger", "err", err)
			p = &contract.Problem{Status: http.StatusInternalServerError, Reason: "ledger", Text: "The ledger could not be read; the log of the trace service says why."}
		}
		return failed(fail, p)
	}
}

func failed[R any](fail func(*R, *contract.Problem), p *contract.Problem) *R {
	r := new(R)
	fail(r, p)
	return r
}

func (s *Service) reply(req micro.Request, answer any) {
	b, err := json.Marshal(answer)
	if err == nil && len(b) > maxReply {
		b, err = json.Marshal(struct {
			Problem *contract.Problem `json:"problem"`
		}{&contract.Problem{Status: http.StatusRequestEntityTooLarge, Reason: "too_large",
			Text: fmt.Sprintf("The answer would take %d bytes; ask for one site or gateway, or with a lower limit.", len(b))}})
	}
	if err == nil {
		err = req.Respond(b)
	}
	if err != nil {
		s.cfg.Log.Warn("an answer could not be sent", "subject", req.Subject(), "err", err)
	}
}

func bad(reason, format string, args ...any) error {
	return &contract.Problem{Status: http.StatusBadRequest, Reason: reason, Text: fmt.Sprintf(format, args...)}
}
