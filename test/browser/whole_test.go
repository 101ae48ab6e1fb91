package browser

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"tidemark/agent"
	"tidemark/cloud"
)

const ruleFile = `rules:
  - name: boiler_warm
    when: boiler.temp_c > 10.0
    for: 2s
    severity: warning
    summary: "The boiler is warm: {boiler.temp_c}"
`

// whole runs a cloud and an agent as their programs do, and returns the console's address.
func whole(t *testing.T) string {
	t.Helper()
	rules := t.TempDir()
	if err := os.WriteFile(filepath.Join(rules, "boiler.yaml"), []byte(ruleFile), 0o644); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan cloud.Addresses, 1), make(chan error, 2)
	c := cloud.DefaultConfig()
	c.Dir, c.Rules, c.MQTTListen, c.HTTPListen, c.Log = t.TempDir(), rules, "127.0.0.1:0", "127.0.0.1:0", quiet
	c.OnReady = func(a cloud.Addresses) { ready <- a }
	go func() { ended <- cloud.Run(ctx, c) }()
	var addr cloud.Addresses
	select {
	case addr = <-ready:
	case err := <-ended:
		stop()
		t.Fatal(err)
	}
	a := agent.DefaultConfig()
	a.Profile, a.Data, a.Broker, a.Log = filepath.Join("..", "..", "sites", "hilltop-plant", "site.yaml"), t.TempDir(), "mqtt://"+addr.MQTT, quiet
	go func() { ended <- agent.Run(ctx, a) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	return "http://" + addr.HTTP
}

// A reading that a real agent takes is on the chart, its message's trace ends where it is stored, and the rule on it fires.
func TestWholePathInABrowser(t *testing.T) {
	b := open(t, whole(t))
	b.view(1280, 900, "light")
	b.visit("/")
	b.await(`document.body.innerText.includes("hilltop-plant") && document.querySelector(".pill.ok")?.textContent === "online"`)
	b.await(`document.body.innerText.includes("balanced") && document.querySelector(".marks .committed") !== null`)
	b.shoot("whole-fleet")

	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		b.visit("/data?site=hilltop-plant&series=gw-1/boiler.temp_c")
		if strings.Contains(b.text(), "boiler.temp_c gw-1") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no series after 20 s: %s", b.text())
		}
	}
	b.await(`document.getElementById("live-state").textContent === "live"`)
	first := eval[string](b, `document.querySelector("#readings time").dateTime`)
	b.await(`document.querySelector("#readings time").dateTime > "` + first + `"`) // live, without loading the page
	b.shoot("whole-data")

	b.visit("/messages?type=telemetry")
	b.await(`document.querySelectorAll("tbody tr").length > 0`)
	b.do("open the newest message", chromedp.Click(chromedp.CSS(`tbody tr:first-child td:last-child`)))
	b.await(`location.pathname.startsWith("/traces/") && document.querySelector(".where") !== null`)
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(b.text(), "everything passed"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the message is not stored after 20 s: %s", b.text())
		}
		b.do("look again", chromedp.Reload())
	}
	b.says("committed", "action_duration_time")
	b.shoot("whole-trace")

	b.visit("/alerts")
	b.await(`document.body.innerText.includes("The boiler is warm")`)
	b.shoot("whole-alerts")
}
