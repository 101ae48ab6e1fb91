package browser

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"tidemark/cloud/ask/asktest"
	"tidemark/cloud/contract"
)

// Every page fits every screen, in light and dark, and is kept as a picture.
func TestPagesFitScreens(t *testing.T) {
	b := open(t, serve(t, asktest.Start(t, asktest.Sample(time.Now()))))
	pages := map[string]string{"fleet": "/", "data": "/data", "data-6h": "/data?range=6h", "messages": "/messages", "trace": "/traces/" + asktest.TraceID, "alerts": "/alerts", "docs": "/api/docs"}
	for _, screen := range []struct {
		name          string
		width, height int64
	}{{"desktop", 1280, 800}, {"phone", 390, 844}} {
		for _, scheme := range []string{"light", "dark"} {
			b.view(screen.width, screen.height, scheme)
			for name, path := range pages {
				b.visit(path)
				if name == "data" || name == "data-6h" {
					b.await(`document.querySelector("#chart canvas") !== null`)
				}
				if name == "data" {
					b.await(`document.getElementById("live-state").textContent === "live"`)
				}
				overflow := eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
				if overflow > 0 {
					t.Errorf("%s on a %s is %d px too wide", name, screen.name, overflow)
				}
				b.shoot(name + "-" + screen.name + "-" + scheme)
			}
		}
	}
}

func TestFleetIsKeptFreshWithoutMoving(t *testing.T) {
	p := asktest.Start(t, asktest.Sample(time.Now()))
	b := open(t, serve(t, p))
	b.view(1280, 800, "light")
	b.visit("/")
	b.says("busan-plant-2 1 of 1 online", "sejong-farm 0 of 1 online", "balanced", "1-5012,5020-5180", "slave 7 does not answer", "Lookup broker.example: no such host", "3 waiting, the oldest for 2.3 s")
	// A mark in the page tells whether it was loaded anew.
	eval[int](b, `window.marked = true; window.shift = 0;
		new PerformanceObserver((l) => { for (const e of l.getEntries()) window.shift += e.value; }).observe({ type: "layout-shift", buffered: true }); 0`)
	p.Set(func(s *asktest.State) { s.Gateways[0].Session = 4242 })
	b.await(`document.getElementById("live").innerText.includes("4242")`)
	if marked, shift := eval[bool](b, `window.marked === true`), eval[float64](b, `window.shift`); !marked || shift > 0.01 {
		t.Errorf("loaded anew: %v; layout shift %g", !marked, shift)
	}
	// A service that stops is named in place; when it is back, so is the page.
	b.expectTrouble()
	if err := p.Stop("trace"); err != nil {
		t.Fatal(err)
	}
	b.await(`document.body.innerText.includes("The trace service does not run")`)
	if err := p.Resume("trace"); err != nil {
		t.Fatal(err)
	}
	b.await(`document.body.innerText.includes("4242")`)
}

func TestChartGoesOnLive(t *testing.T) {
	p := asktest.Start(t, asktest.Sample(time.Now()))
	b := open(t, serve(t, p))
	b.view(1280, 800, "light")
	b.visit("/data?site=busan-plant-2&series=boiler-room/boiler.flow_temp&range=1h")
	b.says("boiler.flow_temp", "°C", "30 bad readings, shown as gaps", "As of", "Lag 120 ms")
	b.await(`document.getElementById("live-state").textContent === "live"`)
	now := time.Now().UnixMilli()
	p.Live(t, contract.LiveReadings{Site: "busan-plant-2", Gateway: "boiler-room", Readings: []contract.Reading{
		{Point: "boiler.return_temp", TimeMs: now, Value: 1.5, Quality: "good"}, {Point: "boiler.flow_temp", TimeMs: now, Value: 88.25, Quality: "good"}}})
	b.await(`document.getElementById("newest").textContent === "88.25" && document.querySelector("#readings tr td:nth-child(2)").textContent === "88.25"`)
	p.Live(t, contract.LiveReadings{Site: "busan-plant-2", Gateway: "boiler-room", Readings: []contract.Reading{
		{Point: "boiler.flow_temp", TimeMs: now + 1000, Quality: "bad", Reason: "timeout"}}})
	b.await(`document.getElementById("newest").textContent === "bad" && document.querySelector("#readings tr").innerText.includes("timeout")`)
	// Choosing another point shows it, without a button.
	choose(b, "series", "boiler-room/meter.energy")
	b.await(`document.getElementById("series")?.textContent.includes("meter.energy") && location.search.includes("meter.energy")`)
	b.says("9007199254741352") // beyond what a float holds, to the digit
}

// choose picks from a list as a person does: the page reacts to the change.
func choose(b *tab, list, value string) {
	b.t.Helper()
	eval[bool](b, `(() => { const s = document.querySelector("select[name=`+list+`]"); s.value = "`+value+`"; return s.dispatchEvent(new Event("change", {bubbles: true})); })()`)
}

func TestMessagesLeadToTraces(t *testing.T) {
	b := open(t, serve(t, asktest.Start(t, asktest.Sample(time.Now()))))
	b.view(1280, 800, "light")
	b.visit("/messages")
	choose(b, "response_code", "rejected")
	b.await(`location.search === "?response_code=rejected" && document.querySelectorAll("tbody tr").length === 1`)
	b.says("unknown_schema", "sejong-farm/greenhouse-a")
	b.visit("/messages?type=telemetry")
	b.do("open the first", chromedp.Click(chromedp.CSS(`tbody tr:first-child td:last-child`))) // anywhere in the row
	b.await(`location.pathname === "/traces/` + asktest.TraceID + `"`)
	b.says("Stored: readings up to this message can be read.", "action_duration_time", "6.8 ms", "not passed", "5178-5180")
	b.do("back", chromedp.Click(chromedp.CSS(`.back a`)))
	b.await(`location.search === "?type=telemetry"`)
}

func TestAlertsPutWhatFiresFirst(t *testing.T) {
	b := open(t, serve(t, asktest.Start(t, asktest.Sample(time.Now()))))
	b.visit("/alerts")
	b.says("Firing 1", "Flow temperature below 50 °C for 2 minutes", "critical", "Cleared 1", "flow_temp_low", `p["boiler.flow_temp"] < 50.0`)
	b.await(`document.querySelector("#firing").compareDocumentPosition(document.querySelector("#cleared")) & Node.DOCUMENT_POSITION_FOLLOWING`)
}

func TestEmptyPagesSayWhy(t *testing.T) {
	b := open(t, serve(t, asktest.Start(t, asktest.State{})))
	for path, want := range map[string]string{
		"/": "No gateway has connected yet", "/data": "No series is stored yet", "/messages": "No message has been committed yet",
		"/messages?type=event": "No message matches", "/alerts": "no rule is loaded", "/traces/" + asktest.TraceID: "The cloud has not seen this message",
	} {
		b.visit(path)
		b.says(want)
	}
	b.visit("/")
	b.view(1280, 800, "light")
	b.shoot("empty-desktop-light")
}

func TestPagesWorkByKeyboard(t *testing.T) {
	b := open(t, serve(t, asktest.Start(t, asktest.Sample(time.Now()))))
	b.visit("/")
	b.do("to the skip link", chromedp.KeyEvent(kb.Tab))
	b.await(`document.activeElement.className === "skip" && document.activeElement.getBoundingClientRect().left >= 0`)
	b.do("to Messages", chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.await(`location.pathname === "/messages"`)
	b.await(`getComputedStyle(document.querySelector("[aria-current=page]")).fontWeight >= 600`)
}
