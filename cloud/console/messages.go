package console

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
	"tidemark/cloud/plain"
	"tidemark/protocol"
)

// messagesView is the page of messages.
type messagesView struct {
	Query    contract.MessagesQuery
	Filtered bool
	Messages []contract.MessageRow
	Older    string // address of the next page
	First    bool   // whether this is the newest page, which fetches itself again
	Types    []string
	Codes    []protocol.ResponseCode
	Sites    []string
	Gateways []string
}

func (c *Console) messages(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v := messagesView{Query: contract.MessagesQuery{Site: q.Get("site"), Gateway: q.Get("gateway"), Type: q.Get("type"), ResponseCode: q.Get("response_code"),
		TraceID: strings.TrimSpace(q.Get("trace_id")), Cursor: q.Get("cursor"), Limit: 50},
		Codes: []protocol.ResponseCode{protocol.OK, protocol.Failed, protocol.Ignored, protocol.Rejected, protocol.Timeout}}
	for t := protocol.TypeTelemetry; t.Known(); t++ {
		v.Types = append(v.Types, t.String())
	}
	v.First = v.Query.Cursor == ""
	v.Filtered = v.Query.Site+v.Query.Gateway+v.Query.Type+v.Query.ResponseCode+v.Query.TraceID != ""
	answer, err := ask.Do[contract.MessagesResult](r.Context(), c.conn, contract.ReqMessages, v.Query)
	v.Messages = answer.Messages
	if answer.Next != "" {
		q.Set("cursor", answer.Next)
		v.Older = "/messages?" + q.Encode()
	}
	v.Sites, v.Gateways = c.names(r)
	status, text := notice(err)
	c.show(w, r, status, page{Name: "messages", Title: "Messages", Nav: "messages", Notice: text, Body: v})
}

// names lists sites and gateways to choose from. Without them the page still
// works, so a failure is not shown twice.
func (c *Console) names(r *http.Request) (sites, gateways []string) {
	answer, err := ask.Do[contract.GatewaysResult](r.Context(), c.conn, contract.ReqGateways, contract.GatewaysQuery{})
	if err != nil {
		return nil, nil
	}
	for _, s := range sitesOf(answer.Gateways) {
		sites = append(sites, s.Name)
		for _, g := range s.Gateways {
			gateways = append(gateways, g.Gateway)
		}
	}
	return sites, unique(gateways)
}

func unique(names []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

// traceView is the page of one trace.
type traceView struct {
	ID       string
	Where    string
	Messages []contract.MessageRow
	Hops     []hop
	Total    int64 // microseconds between the first and the last hop passed
	Back     string
}

// hop is a hop with the parts of a drawing of it, 1000 wide.
type hop struct {
	contract.Hop
	Passed bool
	X, W   float64
}

var traceIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (c *Console) trace(w http.ResponseWriter, r *http.Request) {
	v := traceView{ID: r.PathValue("trace_id"), Back: backTo(r)}
	p := page{Name: "trace", Title: "Trace " + plain.Short(v.ID, 8), Nav: "messages"}
	if !traceIDForm.MatchString(v.ID) {
		p.Notice, p.Body = "A trace id has 32 hexadecimal digits; this address has something else. Check that it was copied whole.", v
		c.show(w, r, http.StatusBadRequest, p)
		return
	}
	answer, err := ask.Do[contract.TraceResult](r.Context(), c.conn, contract.ReqTrace, contract.TraceQuery{TraceID: v.ID})
	v.Where, v.Messages = answer.Where, answer.Messages
	v.Hops, v.Total = hopsOf(answer.Hops)
	status, text := notice(err)
	p.Notice, p.Body = text, v
	c.show(w, r, status, p)
}

// backTo returns the page of messages that the trace was opened from.
func backTo(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err == nil && u.Host == r.Host && u.Path == "/messages" {
		return u.RequestURI()
	}
	return "/messages"
}

// hopsOf places hops on a line from the first that was passed to the last.
func hopsOf(in []contract.Hop) ([]hop, int64) {
	var first, last int64
	for _, h := range in {
		if h.TimeUs > 0 {
			begin := h.TimeUs - h.DurationUs
			if first == 0 || begin < first {
				first = begin
			}
			last = max(last, h.TimeUs)
		}
	}
	total := last - first
	out := make([]hop, 0, len(in))
	for _, h := range in {
		o := hop{Hop: h, Passed: h.TimeUs > 0}
		if o.Passed && total > 0 {
			o.W = max(1000*float64(h.DurationUs)/float64(total), 4)
			o.X = min(1000*float64(h.TimeUs-h.DurationUs-first)/float64(total), 1000-o.W)
		} else if o.Passed {
			o.W = 4
		}
		out = append(out, o)
	}
	return out, total
}
