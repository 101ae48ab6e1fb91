package console

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/cloud/ask/asktest"
	"tidemark/cloud/contract"
)

func start(t *testing.T, s asktest.State) (*httptest.Server, *asktest.Platform) {
	t.Helper()
	p := asktest.Start(t, s)
	c, err := New(Config{Version: "0.1.0"}, p.Conn)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(c.Handler())
	t.Cleanup(srv.Close)
	return srv, p
}

func fetch(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// What the content security policy forbids, and what would come from elsewhere, is on no page.
func TestPagesHoldNothingInlineOrForeign(t *testing.T) {
	srv, _ := start(t, asktest.Sample(time.Now()))
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:\s+[a-z]+="[^"]*")*\s*>[^<]|javascript:|(?:src|href)="(?:https?:)?//`)
	asset := regexp.MustCompile(`(?:src|href)="(/static/[^"]+)"`)
	for _, path := range []string{"/", "/data", "/data?range=7d", "/messages", "/traces/" + asktest.TraceID, "/alerts", "/nowhere"} {
		_, page := fetch(t, srv.URL+path)
		withoutData := regexp.MustCompile(`<script id="chart-data"[^>]*>[^<]*</script>`).ReplaceAllString(page, "")
		if found := inline.FindString(withoutData); found != "" {
			t.Errorf("%s holds %q", path, found)
		}
		assets := asset.FindAllStringSubmatch(page, -1)
		if len(assets) < 3 {
			t.Errorf("%s loads only %d files", path, len(assets))
		}
		for _, a := range assets {
			res, _ := fetch(t, srv.URL+a[1])
			if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || res.Header.Get("Content-Type") == "" {
				t.Errorf("%s: %s %v", a[1], res.Status, res.Header)
			}
		}
	}
	if res, _ := fetch(t, srv.URL+"/nowhere"); res.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown address: %s", res.Status)
	}
}

func TestWhatComesFromGatewaysIsEscaped(t *testing.T) {
	s := asktest.Sample(time.Now())
	evil := `</script><script>alert(1)</script><img src=x onerror=alert(2)>`
	s.Gateways[0].Buses[0].Reason, s.Gateways[0].Agent = evil, evil
	s.Messages[0].Reason, s.Messages[0].Text = evil, evil
	s.Alerts[0].Summary, s.Where = evil, evil
	for i := range s.Readings {
		s.Readings[i].Reason, s.Readings[i].Value = evil, evil
	}
	s.Series[1].Unit = evil
	srv, _ := start(t, s)
	for _, path := range []string{"/", "/data", "/messages", "/traces/" + asktest.TraceID, "/alerts", "/messages?trace_id=" + `%22%3E%3Cscript%3Ealert(1)%3C/script%3E`} {
		if _, page := fetch(t, srv.URL+path); strings.Contains(page, "<script>alert") || strings.Contains(page, "<img") {
			t.Errorf("%s lets markup through", path)
		}
	}
}

func TestDataPageBringsItsChartAndSaysThatItServed(t *testing.T) {
	srv, p := start(t, asktest.Sample(time.Now()))
	marks := make(chan *nats.Msg, 4)
	if _, err := p.Conn.ChanSubscribe(contract.SubjectHop+"served", marks); err != nil {
		t.Fatal(err)
	}
	_, page := fetch(t, srv.URL+"/data?site=busan-plant-2&series=boiler-room/boiler.flow_temp&range=1h")
	m := regexp.MustCompile(`(?s)<script id="chart-data" type="application/json">(.*?)</script>`).FindStringSubmatch(page)
	if m == nil {
		t.Fatal("no chart")
	}
	var c chart
	if err := json.Unmarshal([]byte(m[1]), &c); err != nil {
		t.Fatal(err)
	}
	gaps := 0
	for _, v := range c.Values {
		if v == nil {
			gaps++
		}
	}
	if len(c.Times) < 350 || len(c.Times) != len(c.Values) || gaps != 30 || !c.Live || c.Unit != "°C" {
		t.Errorf("%d times, %d values, %d gaps, live %v, unit %q", len(c.Times), len(c.Values), gaps, c.Live, c.Unit)
	}
	select {
	case m := <-marks:
		if !strings.Contains(string(m.Data), `"through":4711`) {
			t.Errorf("mark: %s", m.Data)
		}
	case <-time.After(10 * time.Second):
		t.Error("no mark that readings were served")
	}
}

func TestServiceThatIsDownIsNamedOnItsPageOnly(t *testing.T) {
	srv, p := start(t, asktest.Sample(time.Now()))
	if err := p.Stop("data"); err != nil {
		t.Fatal(err)
	}
	if res, page := fetch(t, srv.URL+"/data"); res.StatusCode != 503 || !strings.Contains(page, "The data service does not run") {
		t.Errorf("data: %s", res.Status)
	}
	if res, page := fetch(t, srv.URL+"/"); res.StatusCode != 200 || !strings.Contains(page, "boiler-room") {
		t.Errorf("fleet: %s", res.Status)
	}
	if res, page := fetch(t, srv.URL+"/traces/nonsense"); res.StatusCode != 400 || !strings.Contains(page, "32 hexadecimal digits") {
		t.Errorf("trace: %s", res.Status)
	}
}

func TestTidemarkIsDrawnToScale(t *testing.T) {
	e := epochOf(contract.EpochState{Ranges: "1-500,601-1000", Dropped: []contract.DroppedInfo{{Ranges: "501-600"}}}, 2000)
	want := []bar{{0, 250, "committed"}, {300, 200, "committed"}, {250, 50, "dropped"}}
	if len(e.Bars) != len(want) {
		t.Fatalf("%+v", e.Bars)
	}
	for i := range want {
		if e.Bars[i] != want[i] {
			t.Errorf("bar %d: %+v, want %+v", i, e.Bars[i], want[i])
		}
	}
	var ragged []string
	for i := 1; i < 10_000; i += 2 {
		ragged = append(ragged, strconv.Itoa(i))
	}
	if e := epochOf(contract.EpochState{Ranges: "not a set"}, 10); len(e.Bars) != 0 {
		t.Errorf("a text that is no set is drawn: %+v", e.Bars)
	}
	if n := len(epochOf(contract.EpochState{Ranges: strings.Join(ragged[:400], ",")}, 800).Bars); n > maxBars {
		t.Errorf("%d bars", n)
	}
}

func TestHopsAreDrawnToScale(t *testing.T) {
	hops, total := hopsOf([]contract.Hop{{Stage: "sent", TimeUs: 2000, DurationUs: 1000}, {Stage: "received", TimeUs: 5000, DurationUs: 3000}, {Stage: "stored"}})
	if total != 4000 || hops[0].X != 0 || hops[0].W != 250 || hops[1].X != 250 || hops[1].W != 750 || hops[2].Passed {
		t.Errorf("total %d: %+v", total, hops)
	}
	if hops, total := hopsOf(nil); len(hops) != 0 || total != 0 {
		t.Errorf("no hops: %+v", hops)
	}
}
