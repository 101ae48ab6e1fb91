package cli

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"tidemark/cloud/contract"
)

func (a *app) sites() *cobra.Command {
	return &cobra.Command{Use: "sites", Short: "List the sites", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var r struct {
			Sites []struct {
				Site       string `json:"site"`
				Gateways   int    `json:"gateways"`
				Online     int    `json:"online"`
				LastSeenMs int64  `json:"last_seen_ms"`
			} `json:"sites"`
		}
		if done, err := a.answer(c, "sites", nil, &r); done {
			return err
		}
		if len(r.Sites) == 0 {
			return a.say("No gateway has connected yet. Start tidemark-agent on one; tidemark-agent status there says how far it gets.")
		}
		t := newTable("SITE", ">GATEWAYS", ">ONLINE", "LAST SEEN")
		for _, s := range r.Sites {
			online := cell{fmt.Sprint(s.Online), green}
			if s.Online < s.Gateways {
				online.color = red
			}
			t.add(s.Site, fmt.Sprint(s.Gateways), online, a.ago(s.LastSeenMs))
		}
		return a.print(t)
	}}
}

func (a *app) gateways() *cobra.Command {
	return &cobra.Command{Use: "gateways [SITE]", Short: "List the gateways with their state", Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		q := url.Values{}
		if len(args) > 0 {
			q.Set("site", args[0])
		}
		var r struct {
			Gateways []contract.GatewayState `json:"gateways"`
		}
		if done, err := a.answer(c, "gateways", q, &r); done {
			return err
		}
		if len(r.Gateways) == 0 {
			return a.say("No gateway is known" + at(args) + ". tidemark sites lists the sites that have one.")
		}
		t := newTable("GATEWAY", "STATE", "SINCE", "LAST SEEN", ">IN", ">OUT", ">IN FLIGHT", ">DROPPED", ">DEAD", ">WAITING", "BUSES")
		for _, g := range r.Gateways {
			t.add(a.gatewayRow(g)...)
		}
		return a.print(t)
	}}
}

func at(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return " at site " + args[0]
}

func (a *app) gatewayRow(g contract.GatewayState) []any {
	state := codeColor("offline")
	if g.Online {
		state = codeColor("online")
	}
	waiting := "?"
	if g.Outbox != nil {
		waiting = count(g.Outbox.Depth)
	}
	buses, fresh, points := cell{text: "?"}, uint64(0), uint64(0)
	reason := ""
	for _, b := range g.Buses {
		fresh, points = fresh+b.Fresh, points+b.Points
		if b.Reason != "" && reason == "" {
			reason = ", " + b.Bus + ": " + b.Reason
		}
	}
	if len(g.Buses) > 0 {
		buses.text = fmt.Sprintf("%d of %d points fresh%s", fresh, points, reason)
		if fresh < points {
			buses.color = yellow
		}
	}
	lost := func(n uint64) cell {
		if n > 0 {
			return cell{count(n), yellow}
		}
		return cell{text: "0"}
	}
	x := g.Account
	return []any{g.Site + "/" + g.Gateway, state, a.ago(g.SinceMs), a.ago(g.LastSeenMs), count(x.In), count(x.Out), count(x.InFlight),
		lost(x.Dropped), lost(x.Dead), waiting, buses}
}
