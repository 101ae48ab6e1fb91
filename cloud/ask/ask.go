package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"tidemark/cloud/contract"
)

// Timeout bounds a question when its context does not bound it closer.
// It is longer than what a service gives itself, so that the service's own
// words about a slow answer arrive.
const Timeout = 20 * time.Second

// Headers that travel with a question.
const (
	HeaderRequestID   = "X-Request-Id"
	HeaderTraceparent = contract.HeaderTraceparent
)

type originKey struct{}

// Origin is who asks: it goes along with every question of a context.
type Origin struct {
	RequestID   string
	Traceparent string // W3C trace context
}

// WithOrigin returns a context whose questions carry o.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns what WithOrigin put into ctx.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// Do asks subject the question q and returns the answer. The error is a
// [*contract.Problem] if the service refused, an [*Unavailable] if it did not
// answer, or the context's own if the caller went away. Numbers whose type the
// contract leaves open come as [json.Number], so that no digit is lost.
func Do[R, Q any](ctx context.Context, conn *nats.Conn, subject string, q Q) (R, error) {
	var answer R
	data, err := json.Marshal(q)
	if err != nil {
		return answer, fmt.Errorf("ask: encode a question for %s: %w", subject, err)
	}
	msg := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	if o := OriginOf(ctx); o.RequestID != "" {
		msg.Header.Set(HeaderRequestID, o.RequestID)
		msg.Header.Set(HeaderTraceparent, o.Traceparent)
	}
	reply, err := request(ctx, conn, msg)
	if err != nil {
		return answer, err
	}
	if p := serviceError(reply); p != nil {
		return answer, p
	}
	d := json.NewDecoder(bytes.NewReader(reply.Data))
	d.UseNumber()
	if err := d.Decode(&answer); err != nil {
		return answer, &Unavailable{Service: ServiceOf(subject), Subject: subject, Reason: ReasonBadReply, Err: err}
	}
	if p := problemOf(answer, reply.Data); p != nil {
		return answer, p
	}
	return answer, nil
}

func request(ctx context.Context, conn *nats.Conn, msg *nats.Msg) (*nats.Msg, error) {
	fail := func(reason string, err error) error {
		return &Unavailable{Service: ServiceOf(msg.Subject), Subject: msg.Subject, Reason: reason, Err: err}
	}
	if !conn.IsConnected() { // a question asked now would wait in the client's buffer until it times out
		return nil, fail(ReasonBus, nats.ErrDisconnected)
	}
	bounded, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	reply, err := conn.RequestMsgWithContext(bounded, msg)
	switch {
	case err == nil:
		return reply, nil
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, ctx.Err()
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fail(ReasonNoService, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil, fail(ReasonTimeout, err)
	}
	return nil, fail(ReasonBus, err)
}

// serviceError reads the error that nats.go/micro puts into headers.
func serviceError(reply *nats.Msg) *contract.Problem {
	text := reply.Header.Get(micro.ErrorHeader)
	if text == "" {
		return nil
	}
	status, err := strconv.Atoi(reply.Header.Get(micro.ErrorCodeHeader))
	if err != nil || status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	return &contract.Problem{Status: status, Reason: "service_error", Text: text}
}

// problemOf returns the problem in a reply. Results of the contract have a
// field for it; a reply of another type that is refused has nothing else.
func problemOf(answer any, data []byte) *contract.Problem {
	if v := reflect.ValueOf(answer); v.Kind() == reflect.Struct {
		if f := v.FieldByName("Problem"); f.IsValid() {
			p, _ := f.Interface().(*contract.Problem)
			return p
		}
	}
	var refused struct {
		Problem *contract.Problem `json:"problem"`
	}
	if json.Unmarshal(data, &refused) != nil {
		return nil // not an object: no problem either
	}
	return refused.Problem
}
