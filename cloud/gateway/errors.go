package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// ErrNotLoopback says that the API would be reachable from other machines.
var ErrNotLoopback = errors.New("the API has no users yet, so it listens on loopback only; use an address such as 127.0.0.1:8080")

// The reasons that the gateway itself gives; services give others.
const (
	reasonInvalid     = "invalid_request"
	reasonNoPath      = "no_such_path"
	reasonMethod      = "method_not_allowed"
	reasonNoGateway   = "no_such_gateway"
	reasonNoTrace     = "no_such_trace"
	reasonRate        = "too_many_requests"
	reasonTooLong     = "request_too_large"
	reasonHost        = "host_not_allowed"
	reasonInternal    = "internal_error"
	reasonLiveClients = "too_many_live_clients"
	reasonGone        = "client_gone"
)

// Problem is an error as RFC 9457 has it, with what Tidemark adds: a
// machine-readable reason, the outcome class and the request's id.
type Problem struct {
	Type         string                `json:"type,omitempty" format:"uri-reference" doc:"Always about:blank: reason tells problems apart"`
	Title        string                `json:"title" doc:"The name of the status"`
	Status       int                   `json:"status" doc:"HTTP status code"`
	Detail       string                `json:"detail,omitempty" doc:"What happened, and what to do next, in a sentence for a person"`
	Reason       string                `json:"reason" doc:"What happened, for a program"`
	ResponseCode protocol.ResponseCode `json:"response_code" enum:"failed,rejected,timeout" doc:"The class of the outcome"`
	RequestID    string                `json:"request_id,omitempty" doc:"What to look for in the logs"`
	Errors       []*huma.ErrorDetail   `json:"errors,omitempty" doc:"Each mistake in the request"`
	RetryAfter   int                   `json:"-"`
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes every problem application/problem+json.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

func newProblem(status int, reason, detail string) *Problem {
	p := &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Reason: reason, ResponseCode: protocol.Failed}
	if status >= 400 && status < 500 {
		p.ResponseCode = protocol.Rejected
	}
	if reason == ask.ReasonTimeout {
		p.ResponseCode = protocol.Timeout
	}
	return p
}

// problemFrom turns what ask.Do returns into what the client sees.
func problemFrom(ctx context.Context, err error) *Problem {
	var refused *contract.Problem
	var down *ask.Unavailable
	var own *Problem
	p := newProblem(http.StatusInternalServerError, reasonInternal, "The gateway failed in a way that it did not expect. Look for the request_id in its log.")
	switch {
	case errors.As(err, &own):
		p = own
	case errors.As(err, &refused):
		status := refused.Status
		if status < 400 || status > 599 {
			status = http.StatusBadGateway
		}
		p = newProblem(status, refused.Reason, refused.Text)
	case errors.As(err, &down):
		p = newProblem(http.StatusServiceUnavailable, down.Reason, down.Error())
	case ctx.Err() != nil:
		p = newProblem(499, reasonGone, "The client went away before the answer was there.")
	}
	p.RequestID = ask.OriginOf(ctx).RequestID
	return p
}

// useProblems makes huma's own errors, such as those of a parameter that is
// not valid, look like ours. Huma keeps this per process.
var useProblems = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		if status == http.StatusUnprocessableEntity {
			status = http.StatusBadRequest
		}
		p := newProblem(status, reasonInvalid, msg)
		if status >= 500 {
			p.Reason = reasonInternal
		} else if msg == "validation failed" {
			p.Detail = "The request has parameters that are not valid; errors lists each of them."
		}
		for _, err := range errs {
			if d, ok := err.(huma.ErrorDetailer); ok {
				p.Errors = append(p.Errors, d.ErrorDetail())
			} else if err != nil && status < 500 { // what went wrong inside is for the log
				p.Errors = append(p.Errors, &huma.ErrorDetail{Message: err.Error()})
			}
		}
		return p
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		p := huma.NewError(status, msg, errs...)
		if own, ok := p.(*Problem); ok && ctx != nil {
			own.RequestID = ask.OriginOf(ctx.Context()).RequestID
		}
		return p
	}
})
