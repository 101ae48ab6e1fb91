package cli

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cloud/contract"
	"tidemark/cloud/plain"
)

func (a *app) messages() *cobra.Command {
	var site, gateway, kind, code, trace, from, to, cursor string
	var limit int
	c := &cobra.Command{Use: "messages", Short: "List messages, newest first", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		fromMs, err := a.moment("from", from)
		if err != nil {
			return err
		}
		toMs, err := a.moment("to", to)
		if err != nil {
			return err
		}
		var r struct {
			Messages []contract.MessageRow `json:"messages"`
			Next     string                `json:"next"`
		}
		q := url.Values{"site": {site}, "gateway": {gateway}, "type": {kind}, "response_code": {code}, "trace_id": {trace},
			"from": {fromMs}, "to": {toMs}, "limit": {strconv.Itoa(limit)}, "cursor": {cursor}}
		if done, err := a.answer(c, "messages", q, &r); done {
			return err
		}
		if len(r.Messages) == 0 {
			return a.say("No message matches.")
		}
		t := newTable("QUEUED", "GATEWAY", "TYPE", "SEQS", ">READINGS", ">SIZE", "OUTCOME", "REASON", "TRACE")
		for _, m := range r.Messages {
			readings := ""
			if m.Readings > 0 {
				readings = count(m.Readings)
			}
			t.add(utc(m.TimeMs), m.Site+"/"+m.Gateway, m.Type, plain.Short(m.Seqs, 24), readings, plain.Bytes(m.Bytes), codeColor(m.ResponseCode), m.Reason, m.TraceID)
		}
		if r.Next != "" {
			defer a.hint("There is more: add --cursor %s, or raise --limit.", r.Next)
		}
		return a.print(t)
	}}
	c.Flags().StringVar(&site, "site", "", "only this site")
	c.Flags().StringVar(&gateway, "gateway", "", "only this gateway")
	c.Flags().StringVar(&kind, "type", "", "only this type: telemetry, heartbeat, dropped, clock, outage, event, reply")
	c.Flags().StringVar(&code, "response-code", "", "only this outcome: ok, failed, ignored, rejected, timeout")
	c.Flags().StringVar(&trace, "trace-id", "", "only this trace")
	c.Flags().StringVar(&from, "from", "", "first moment: RFC 3339, milliseconds since the Unix epoch, or how long ago (15m, 2h, 7d)")
	c.Flags().StringVar(&to, "to", "", "first moment no longer included, in the same forms")
	c.Flags().IntVar(&limit, "limit", 50, "how many at most, up to 1000")
	c.Flags().StringVar(&cursor, "cursor", "", "the page after another, as that one said")
	return c
}

func (a *app) alerts() *cobra.Command {
	var site, state string
	var limit int
	c := &cobra.Command{Use: "alerts", Short: "List alerts, newest first", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var r struct {
			Alerts []contract.Alert `json:"alerts"`
		}
		if done, err := a.answer(c, "alerts", url.Values{"site": {site}, "state": {state}, "limit": {strconv.Itoa(limit)}}, &r); done {
			return err
		}
		if len(r.Alerts) == 0 {
			return a.say("No alert.")
		}
		t := newTable("STATE", "SEVERITY", "FIRED", "FOR", "GATEWAY", "RULE", "SUMMARY", "TRACE")
		for _, x := range r.Alerts {
			end := x.ClearedMs
			if end == 0 {
				end = a.env.Now().UnixMilli()
			}
			t.add(codeColor(x.State), codeColor(x.Severity), a.ago(x.FiredMs), plain.Span(end-x.FiredMs), x.Site+"/"+x.Gateway, x.Rule, x.Summary, x.TraceID)
		}
		return a.print(t)
	}}
	c.Flags().StringVar(&site, "site", "", "only this site")
	c.Flags().StringVar(&state, "state", "", "only firing or cleared")
	c.Flags().IntVar(&limit, "limit", 50, "how many at most, up to 1000")
	return c
}

var traceIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (a *app) trace() *cobra.Command {
	return &cobra.Command{Use: "trace ID", Short: "Show where a message has been", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		if !traceIDForm.MatchString(args[0]) {
			return usageError{fmt.Errorf("%q is not a trace id: it has 32 hexadecimal digits; tidemark messages shows those of messages", args[0])}
		}
		var r struct {
			Where    string                `json:"where"`
			Hops     []contract.Hop        `json:"hops"`
			Messages []contract.MessageRow `json:"messages"`
		}
		if done, err := a.answer(c, "traces/"+args[0], nil, &r); done {
			return err
		}
		for _, m := range r.Messages {
			if err := a.say(printable(strings.TrimSpace(fmt.Sprintf("%s of %s/%s, epoch %s, seqs %s: %s %s %s", m.Type, m.Site, m.Gateway, m.Epoch, m.Seqs, m.ResponseCode, m.Reason, m.Text)))); err != nil {
				return err
			}
		}
		if err := a.say(printable(plain.Sentence(r.Where)) + "\n"); err != nil {
			return err
		}
		t := newTable("STAGE", ">ACTION_DURATION_TIME", "TIME", "CLOCK")
		for _, h := range r.Hops {
			took, when := cell{plain.SpanUs(h.DurationUs), ""}, time.UnixMicro(h.TimeUs).UTC().Format("2006-01-02T15:04:05.000000Z")
			if h.TimeUs == 0 {
				took, when = cell{"not passed", yellow}, ""
			}
			t.add(h.Stage, took, when, h.Clock)
		}
		return a.print(t)
	}}
}
