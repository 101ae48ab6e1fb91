package gateway

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
)

type messagesInput struct {
	GatewayFilter
	Type         string `query:"type" enum:"telemetry,heartbeat,dropped,clock,outage,event,reply" doc:"Only messages of this type"`
	ResponseCode string `query:"response_code" enum:"ok,failed,ignored,rejected,timeout" doc:"Only messages with this outcome"`
	TraceID      string `query:"trace_id" pattern:"^[0-9a-f]{32}$" doc:"Only messages of this trace"`
	Span
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many at most"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next of the page before"`
}

type messagesBody struct {
	Messages []contract.MessageRow `json:"messages" nullable:"false"`
	Next     string                `json:"next,omitempty" doc:"Give it as cursor for the next page; absent on the last"`
}

type traceInput struct {
	TraceID string `path:"trace_id" pattern:"^[0-9a-f]{32}$" doc:"32 hexadecimal digits"`
}

type traceBody struct {
	TraceID  string                `json:"trace_id"`
	Where    string                `json:"where" doc:"One sentence: where the message is now, or where it stopped"`
	Hops     []contract.Hop        `json:"hops" nullable:"false" doc:"Every stage in order, passed or not"`
	Messages []contract.MessageRow `json:"messages" nullable:"false"`
}

func (g *Gateway) traceAPI(api huma.API) {
	get(api, huma.Operation{OperationID: "list-messages", Path: "/api/v1/messages", Tags: []string{"trace"}, Summary: "List messages, newest first",
		Description: "The ledger of what gateways sent: one row for each message, or for several that were joined. Payloads are not kept here."}, g.messages)
	get(api, huma.Operation{OperationID: "get-trace", Path: "/api/v1/traces/{trace_id}", Tags: []string{"trace"}, Summary: "Show where a message has been",
		Description: "The hops sampled, queued, sent, received, committed, ruled, stored, served, with the time spent in each (action_duration_time).",
		Errors:      []int{http.StatusNotFound}}, g.trace)
}

func (g *Gateway) messages(ctx context.Context, in *messagesInput) (*answer[messagesBody], error) {
	r, err := ask.Do[contract.MessagesResult](ctx, g.conn, contract.ReqMessages, contract.MessagesQuery{
		Site: in.Site, Gateway: in.Gateway, Type: in.Type, ResponseCode: in.ResponseCode, TraceID: in.TraceID,
		FromMs: in.fromMs, ToMs: in.toMs, Limit: in.Limit, Cursor: in.Cursor})
	return &answer[messagesBody]{messagesBody{list(r.Messages), r.Next}}, err
}

func (g *Gateway) trace(ctx context.Context, in *traceInput) (*answer[traceBody], error) {
	r, err := ask.Do[contract.TraceResult](ctx, g.conn, contract.ReqTrace, contract.TraceQuery{TraceID: in.TraceID})
	if err == nil && len(r.Messages) == 0 && len(r.Hops) == 0 {
		text := r.Where
		if text == "" {
			text = "No message with this trace id has reached the cloud. It may still be in a gateway's outbox: ask there with tidemark-agent trace."
		}
		return nil, newProblem(http.StatusNotFound, reasonNoTrace, text)
	}
	return &answer[traceBody]{traceBody{r.TraceID, r.Where, list(r.Hops), list(r.Messages)}}, err
}
