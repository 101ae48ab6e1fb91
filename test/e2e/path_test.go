package e2e

import (
	"net/http"
	"strings"
	"testing"

	"tidemark/cloud"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// ended reports whether the recording is over: no point of it is fresh any more.
func (a *theAgent) ended() bool {
	s := a.status()
	for _, b := range s.Buses {
		if b.Bus == "recording" {
			return b.Fresh == 0 && s.UptimeMs > 3000
		}
	}
	return false
}

// drained waits until the recording is over and the cloud has acknowledged all
// that the outbox holds.
func (a *theAgent) drained() {
	a.t.Helper()
	eventually(a.t, "everything is read and acknowledged", func() bool { return a.ended() && a.status().Outbox.Depth <= 1 })
}

// balanced holds the product's own account against what it must be.
func balanced(t *testing.T, g contract.GatewayState) {
	t.Helper()
	a := g.Account
	if a.In != a.Out+a.InFlight+a.Dropped+a.Dead || a.Dropped != 0 || a.Dead != 0 {
		t.Errorf("the account of %s does not balance: %+v", g.Site, a)
	}
}

func TestReadingsArrive(t *testing.T) {
	const n = 20_000
	c := startCloud(t, nil)
	a := startAgent(t, "plant", c.addr.MQTT, replay(t, n, "speed: max"))
	eventually(t, "every reading is stored", func() bool { return c.readings("plant") == n })
	eventually(t, "the agent knows that its first message is committed", func() bool {
		return a.trace(a.outbox().Epoch+"0000000000000001").State == "acknowledged"
	})
	a.stop()
	eventually(t, "the goodbye is seen", func() bool { return !c.gateway("plant").Online })
	if got := c.readings("plant"); got != n {
		t.Errorf("%d readings are stored, want %d", got, n)
	}
	g := c.gateway("plant")
	balanced(t, g)
	if len(g.Epochs) != 1 || g.Agent != "test" || g.Profile == "" {
		t.Fatalf("the gateway is %+v", g)
	}
	var rows []contract.MessageRow
	eventually(t, "the messages account for every reading", func() bool {
		total := 0
		rows = c.messages("site=plant&type=telemetry")
		for _, m := range rows {
			total += m.Readings
			if m.ResponseCode != "ok" || m.CommittedMs == 0 {
				t.Errorf("a message is %+v", m)
			}
		}
		return total == n
	})
	var trace struct {
		Where string
		Hops  []contract.Hop
	}
	eventually(t, "its trace says that it is stored", func() bool {
		return c.get("/api/v1/traces/"+rows[0].TraceID, &trace) && strings.Contains(trace.Where, "stored")
	})
}

func TestLinkIsCutAndRestored(t *testing.T) {
	const n = 1_000_000
	c := startCloud(t, nil)
	net := newNetwork(t, c.addr.MQTT)
	net.cut()
	a := startAgent(t, "plant", net.addr(), live+replay(t, n, "speed: max"))
	eventually(t, "the backlog is there", a.ended)
	net.narrow(200) // KB/s: the backlog takes seconds
	backlog := a.status().Outbox.NextSeq - 1
	net.restore()
	eventually(t, "fresh messages arrive before the backlog", func() bool {
		g := c.gateway("plant")
		if len(g.Epochs) == 0 {
			return false
		}
		have, err := protocol.ParseSet(g.Epochs[0].Ranges)
		if err != nil {
			t.Fatal(err)
		}
		if have.ContainsAll(1, backlog) {
			t.Fatalf("the backlog up to %d was there first: %s", backlog, g.Epochs[0].Ranges)
		}
		return have.Max() > backlog+1
	})
	a.drained()
	net.cut()
	eventually(t, "the agent sees the cut", func() bool { s := a.status().Link; return !s.Online && s.Rung == protocol.RungTCP })
	net.restore()
	eventually(t, "the link is back", func() bool { return a.status().Link.Online })
	eventually(t, "what the edge saw of both outages is known", func() bool {
		outages := c.gateway("plant").Outages
		return len(outages) >= 2 && outages[0].ToMs > 0 && outages[0].Steps[0].Rung == protocol.RungTCP
	})
	a.stop()
	var recorded struct{ Readings int }
	eventually(t, "every reading is stored once", func() bool {
		// The recording's times end before the live bus began.
		return c.get("/api/v1/readings/count?site=plant&to=2026-02-01T00:00:00Z", &recorded) && recorded.Readings == n
	})
	balanced(t, c.gateway("plant"))
}

func TestCloudIsRestarted(t *testing.T) {
	const n = 10_000 // 100 s, 5 s at this speed
	c := startCloud(t, nil)
	a := startAgent(t, "plant", c.addr.MQTT, replay(t, n, "speed: 20", "at: now"))
	for range 3 {
		before := c.readings("plant")
		eventually(t, "more readings arrive", func() bool { return c.readings("plant") > before+300 })
		c.restart()
	}
	a.drained()
	eventually(t, "every reading is stored once", func() bool { return c.readings("plant") == n })
	a.stop()
	balanced(t, c.gateway("plant"))
}

func TestAgentIsRestarted(t *testing.T) {
	c := startCloud(t, nil)
	a := startAgent(t, "plant", c.addr.MQTT, live)
	for range 3 {
		before := c.readings("plant")
		eventually(t, "readings arrive", func() bool { return c.readings("plant") > before+3 })
		a.stop()
		eventually(t, "it went on purpose", func() bool { return !c.gateway("plant").Online })
		a.start()
	}
	a.stop()
	g := c.gateway("plant")
	if len(g.Epochs) != 1 || strings.Contains(g.Epochs[0].Ranges, ",") {
		t.Errorf("the tidemark is %+v, want one unbroken range", g.Epochs)
	}
	balanced(t, g)
}

func TestTwoReceiversRaceOnOneBroker(t *testing.T) {
	const n = 300_000
	broker := startMosquitto(t)
	first := startCloud(t, func(cfg *cloud.Config) { cfg.MQTT, cfg.NATSListen = "mqtt://"+broker, freeAddr(t) })
	second := startCloud(t, func(cfg *cloud.Config) {
		cfg.MQTT, cfg.NATS, cfg.Roles = "mqtt://"+broker, first.addr.NATS, []string{cloud.RoleReceiver}
	})
	a := startAgent(t, "plant", broker, live+replay(t, n, "speed: max"))
	eventually(t, "half of it is stored", func() bool { return first.readings("plant") > n/4 })
	second.stop() // one of them goes while it works
	a.drained()
	a.stop()
	var recorded struct{ Readings int }
	eventually(t, "every reading is stored once", func() bool {
		return first.get("/api/v1/readings/count?site=plant&to=2026-02-01T00:00:00Z", &recorded) && recorded.Readings == n
	})
	balanced(t, first.gateway("plant"))
}

// Every role in a process of its own, on a broker and a NATS server that are
// not ours; one of them goes away for a while.
func TestRolesOnExternalBrokerAndNATS(t *testing.T) {
	const n = 100_000
	broker, nats := startMosquitto(t), startNATS(t)
	role := func(name string) *theCloud {
		return startCloud(t, func(cfg *cloud.Config) { cfg.MQTT, cfg.NATS, cfg.Roles = "mqtt://"+broker, nats, []string{name} })
	}
	role(cloud.RoleReceiver)
	role(cloud.RoleRule)
	role(cloud.RoleTrace)
	data, api := role(cloud.RoleData), role(cloud.RoleGateway)
	a := startAgent(t, "plant", broker, live+replay(t, n, "speed: max"))
	eventually(t, "some of it is stored", func() bool { return api.readings("plant") > 0 })
	data.stop()
	eventually(t, "the API says that the data service is away", func() bool { return api.readings("plant") < 0 })
	a.drained()
	a.stop()
	data.start()
	var recorded struct{ Readings int }
	eventually(t, "every reading is stored once", func() bool {
		return api.get("/api/v1/readings/count?site=plant&to=2026-02-01T00:00:00Z", &recorded) && recorded.Readings == n
	})
	balanced(t, api.gateway("plant"))
}

func TestBrokerWithoutReceiver(t *testing.T) {
	broker := startMosquitto(t)
	a := startAgent(t, "plant", broker, live)
	eventually(t, "the agent names the rung", func() bool { return a.status().Link.Rung == protocol.RungAck })
	if a.status().Link.Online {
		t.Error("the link counts as up")
	}
	c := startCloud(t, func(cfg *cloud.Config) { cfg.MQTT = "mqtt://" + broker })
	eventually(t, "readings arrive once there is a receiver", func() bool { return c.readings("plant") > 3 })
	eventually(t, "nothing waits", func() bool { s := a.status(); return s.Link.Online && s.Outbox.Depth <= 2 })
}

// A cloud that lost everything asks an old agent for the schemas that it lacks.
func TestFreshCloudWithAnOldAgent(t *testing.T) {
	c := startCloud(t, nil)
	a := startAgent(t, "plant", c.addr.MQTT, live)
	eventually(t, "readings arrive", func() bool { return c.readings("plant") > 10 })
	c.stop()
	c.cfg.Dir = t.TempDir()
	c.restart()
	eventually(t, "readings arrive again", func() bool { return c.readings("plant") > 10 })
	eventually(t, "nothing waits", func() bool { s := a.status(); return s.Link.Online && s.Outbox.Depth <= 2 })
}

func TestSitesDoNotDisturbEachOther(t *testing.T) {
	c := startCloud(t, nil)
	net := newNetwork(t, c.addr.MQTT)
	startAgent(t, "cut-off", net.addr(), live)
	startAgent(t, "well", c.addr.MQTT, live)
	eventually(t, "both send", func() bool { return c.readings("cut-off") > 3 && c.readings("well") > 3 })
	net.cut()
	eventually(t, "the one is offline", func() bool { return !c.gateway("cut-off").Online })
	before := c.readings("well")
	eventually(t, "the other goes on", func() bool { return c.readings("well") > before+10 && c.gateway("well").Online })
	resp, err := http.Get("http://" + c.addr.HTTP + "/")
	if err != nil || resp.StatusCode >= 500 {
		t.Fatalf("the console: %v %v", resp, err)
	}
	resp.Body.Close()
}
