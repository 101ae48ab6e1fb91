package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"tidemark/cloud/ask/asktest"
	"tidemark/cloud/contract"
)

var sampleNow = time.Date(2026, 11, 21, 8, 30, 0, 0, time.UTC)

// start runs a gateway in front of the sample platform and returns its address.
func start(t *testing.T, cfg Config) (string, *asktest.Platform) {
	t.Helper()
	p := asktest.Start(t, asktest.Sample(sampleNow))
	g, err := New(cfg, p.Conn)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, g), p
}

func serve(t *testing.T, g *Gateway) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

func fetch(t *testing.T, url string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

func fetchJSON[T any](t *testing.T, url string) T {
	t.Helper()
	res, body := fetch(t, url)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", url, res.Status, body)
	}
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("GET %s: %v: %s", url, err, body)
	}
	return v
}

func fetchProblem(t *testing.T, url string, headers ...string) Problem {
	t.Helper()
	res, body := fetch(t, url, headers...)
	if kind := res.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Fatalf("GET %s: %s with content type %q: %s", url, res.Status, kind, body)
	}
	var p Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != res.StatusCode || p.Detail == "" || p.Reason == "" || p.Title == "" || p.RequestID != res.Header.Get("X-Request-Id") {
		t.Errorf("GET %s: status %d and request id %q, but the problem says %s", url, res.StatusCode, res.Header.Get("X-Request-Id"), body)
	}
	return p
}

func TestFleet(t *testing.T) {
	base, p := start(t, Config{})
	sites := fetchJSON[sitesBody](t, base+"/api/v1/sites").Sites
	if len(sites) != 2 || sites[0].Site != "busan-plant-2" || sites[0].Online != 1 || sites[1].Online != 0 || sites[1].LastSeenMs == 0 {
		t.Errorf("sites: %+v", sites)
	}
	if got := fetchJSON[gatewaysBody](t, base+"/api/v1/gateways?site=sejong-farm").Gateways; len(got) != 1 || got[0].Gateway != "greenhouse-a" {
		t.Errorf("gateways of one site: %+v", got)
	}
	if got := fetchJSON[contract.GatewayState](t, base+"/api/v1/gateways/busan-plant-2/boiler-room"); got.Session != 17 || len(got.Buses) != 2 {
		t.Errorf("one gateway: %+v", got)
	}
	marks := fetchJSON[tidemarksBody](t, base+"/api/v1/gateways/busan-plant-2/boiler-room/tidemarks")
	if len(marks.Epochs) != 1 || marks.Epochs[0].Ranges != "1-5012,5020-5180" || marks.Epochs[0].Dropped[0].Cause != "budget" || marks.Account.In != 5183 {
		t.Errorf("tidemarks: %+v", marks)
	}
	if got := fetchProblem(t, base+"/api/v1/gateways/busan-plant-2/nobody"); got.Status != 404 || got.Reason != "no_such_gateway" {
		t.Errorf("unknown gateway: %+v", got)
	}
	p.Set(func(s *asktest.State) { s.Gateways = nil })
	if _, body := fetch(t, base+"/api/v1/sites"); strings.TrimSpace(string(body)) != `{"sites":[]}` {
		t.Errorf("no sites: %s", body)
	}
}

func TestReadingsAsJSON(t *testing.T) {
	base, _ := start(t, Config{})
	url := base + "/api/v1/readings?site=busan-plant-2&points=meter.energy,boiler.flow_temp&limit=300"
	first := fetchJSON[readingsBody](t, url)
	if len(first.Readings) != 300 || first.Next == "" || first.AsOf != "2026-11-21T08:29:59.600Z" || first.Lag != 0.12 || first.LagMs != 120 || first.MissingReason != "" {
		t.Fatalf("first page: %d readings, next %q, %+v", len(first.Readings), first.Next, first.Freshness)
	}
	if bad := first.Readings[210]; bad.Value != nil || bad.Quality != "bad" || bad.Reason != "timeout" {
		t.Errorf("a bad reading: %+v", bad)
	}
	res, body := fetch(t, url)
	if !strings.Contains(string(body), `"lag":0.12`) {
		t.Errorf("body: %.300s", body)
	}
	// The next page, by the address in the header.
	link := regexp.MustCompile(`^<(.*)>; rel="next"$`).FindStringSubmatch(res.Header.Get("Link"))
	if link == nil {
		t.Fatalf("Link: %q", res.Header.Get("Link"))
	}
	second, body := fetch(t, base+link[1])
	if second.StatusCode != 200 || !strings.Contains(string(body), "9007199254740993") {
		t.Errorf("an int64 beyond 2^53 lost digits: %s %.300s", second.Status, body)
	}
	empty := fetchJSON[readingsBody](t, base+"/api/v1/readings?site=busan-plant-2&from=2031-01-01T00:00:00%2B09:00")
	if empty.MissingReason != "none_in_range" || empty.MissingText == "" || empty.AsOfMs == 0 {
		t.Errorf("nothing in range: %+v", empty)
	}
	one := fetchJSON[readingsBody](t, base+"/api/v1/readings?site=busan-plant-2&points=boiler.flow_temp&from=2026-11-21T08:29:55Z&to=1795249800001")
	if len(one.Readings) != 1 || one.Readings[0].TimeMs != sampleNow.UnixMilli() {
		t.Errorf("from and to in two forms: %+v", one.Readings)
	}
	if rolled := fetchJSON[readingsBody](t, base+"/api/v1/readings?site=busan-plant-2&rollup=1m"); len(rolled.Rollups) != 60 || rolled.Rollups[0].Mean != 71.2 {
		t.Errorf("roll-ups: %d", len(rolled.Rollups))
	}
}

func TestReadingsAsCSV(t *testing.T) {
	base, _ := start(t, Config{})
	url := base + "/api/v1/readings?site=busan-plant-2&points=boiler.flow_temp"
	res, body := fetch(t, url+"&limit=230", "Accept", "text/csv")
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/csv") {
		t.Fatalf("content type %q", res.Header.Get("Content-Type"))
	}
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil || len(rows) != 231 || strings.Join(rows[0], ",") != "site,gateway,point,time,time_ms,value,quality,reason" {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if got := strings.Join(rows[1], ","); got != "busan-plant-2,boiler-room,boiler.flow_temp,2026-11-21T07:30:10.000Z,1795246210000,71,good," {
		t.Errorf("row: %s", got)
	}
	if got := rows[210]; got[5] != "" || got[6] != "bad" || got[7] != "timeout" {
		t.Errorf("bad row: %v", got)
	}
	if h := res.Header; h.Get("Tidemark-As-Of") != "2026-11-21T08:29:59.600Z" || h.Get("Tidemark-Lag") != "0.120" || h.Get("Tidemark-Next") == "" {
		t.Errorf("headers: %v", h)
	}
	res, body = fetch(t, url+"&format=csv&from=2031-01-01T00:00:00Z")
	if res.Header.Get("Tidemark-Missing-Reason") != "none_in_range" || strings.Count(string(body), "\n") != 1 {
		t.Errorf("empty CSV: %v %q", res.Header, body)
	}
	res, body = fetch(t, url+"&format=csv&rollup=1m")
	if res.StatusCode != 200 || !strings.HasPrefix(string(body), "site,gateway,point,time,time_ms,count,bad,min,max,mean,first,last\r\n") {
		t.Errorf("rolled CSV: %s %.200s", res.Status, body)
	}
}

func TestDataTraceAndRules(t *testing.T) {
	base, _ := start(t, Config{})
	if c := fetchJSON[contract.CountResult](t, base+"/api/v1/readings/count?site=busan-plant-2"); c.Readings != 1440 || c.Bad != 30 || c.Good != 1410 {
		t.Errorf("count: %+v", c)
	}
	if s := fetchJSON[seriesBody](t, base+"/api/v1/series?site=busan-plant-2"); len(s.Series) != 4 || s.Series[1].Unit != "Cel" || s.Series[1].Newest == nil {
		t.Errorf("series: %+v", s)
	}
	m := fetchJSON[messagesBody](t, base+"/api/v1/messages?type=telemetry&limit=5")
	if len(m.Messages) != 5 || m.Next == "" {
		t.Errorf("messages: %d, next %q", len(m.Messages), m.Next)
	}
	if m := fetchJSON[messagesBody](t, base+"/api/v1/messages?response_code=rejected"); len(m.Messages) != 1 || m.Messages[0].Reason != "unknown_schema" {
		t.Errorf("rejected messages: %+v", m)
	}
	tr := fetchJSON[traceBody](t, base+"/api/v1/traces/"+asktest.TraceID)
	if len(tr.Hops) != 8 || tr.Where == "" || len(tr.Messages) != 1 {
		t.Errorf("trace: %+v", tr)
	}
	if p := fetchProblem(t, base+"/api/v1/traces/00000000000000000000000000000001"); p.Reason != "no_such_trace" || p.Status != 404 {
		t.Errorf("unknown trace: %+v", p)
	}
	if a := fetchJSON[alertsBody](t, base+"/api/v1/alerts?state=firing"); len(a.Alerts) != 1 || a.Alerts[0].Severity != "critical" {
		t.Errorf("alerts: %+v", a)
	}
	if r := fetchJSON[rulesBody](t, base+"/api/v1/rules"); len(r.Rules) != 1 || r.Rules[0].Name != "flow_temp_low" {
		t.Errorf("rules: %+v", r)
	}
}

func TestBadRequestsAreRefusedWithEveryReason(t *testing.T) {
	base, _ := start(t, Config{})
	p := fetchProblem(t, base+"/api/v1/readings?site=Busan!&from=yesterday&rollup=5m&limit=0&colour=red")
	if p.Status != 400 || p.Reason != "invalid_request" || p.ResponseCode != "rejected" {
		t.Fatalf("%+v", p)
	}
	p = fetchProblem(t, base+"/api/v1/readings?site=Busan!&from=yesterday&rollup=5m&limit=0")
	var where []string
	for _, e := range p.Errors {
		where = append(where, e.Location)
	}
	for _, want := range []string{"query.site", "query.from", "query.rollup", "query.limit"} {
		if !strings.Contains(strings.Join(where, " "), want) {
			t.Errorf("%s is not among the errors %v", want, where)
		}
	}
	for path, want := range map[string]string{
		"/api/v1/readings":                                 "invalid_request", // no site
		"/api/v1/readings?site=a&from=2000&to=1000":        "invalid_request",
		"/api/v1/messages?trace_id=xyz":                    "invalid_request",
		"/api/v1/gateways/..%2f..%2fetc/passwd":            "invalid_request",
		"/api/v1/nothing":                                  "no_such_path",
		"/nothing":                                         "no_such_path",
		"/api/v1/sites?x=" + strings.Repeat("a", maxURL+1): "request_too_large",
	} {
		if p := fetchProblem(t, base+path); p.Reason != want {
			t.Errorf("%.60s: reason %s, want %s", path, p.Reason, want)
		}
	}
	if p := fetchProblem(t, base+"/api/v1/sites", "Host", "evil.example"); p.Reason != "host_not_allowed" || p.Status != 421 {
		t.Errorf("foreign host: %+v", p)
	}
	res, err := http.Post(base+"/api/v1/sites", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") == "" || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("POST: %s %v", res.Status, res.Header)
	}
}

func TestServiceThatIsDownIsNamed(t *testing.T) {
	base, p := start(t, Config{})
	if err := p.Stop("data"); err != nil {
		t.Fatal(err)
	}
	got := fetchProblem(t, base+"/api/v1/readings/count")
	if got.Status != 503 || got.Reason != "no_service" || !strings.Contains(got.Detail, "data service") || got.ResponseCode != "failed" {
		t.Errorf("%+v", got)
	}
	if fetchProblem(t, base+"/api/v1/live?site=busan-plant-2").Reason != "no_service" {
		t.Error("a live tail opened without the data service")
	}
	fetchJSON[sitesBody](t, base+"/api/v1/sites") // the others still answer
	if err := p.Resume("data"); err != nil {
		t.Fatal(err)
	}
	fetchJSON[countBody](t, base+"/api/v1/readings/count")
	p.Set(func(s *asktest.State) {
		s.Problem = &contract.Problem{Status: 404, Reason: "no_such_site", Text: "There is no site x."}
	})
	if got := fetchProblem(t, base+"/api/v1/series"); got.Status != 404 || got.Reason != "no_such_site" || got.Detail != "There is no site x." {
		t.Errorf("the service's own problem: %+v", got)
	}
}

func TestRequestIDAndTraceTravel(t *testing.T) {
	var log lockedBuffer
	base, p := start(t, Config{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	const trace = "0af7651916cd43dd8448eb211c80319c"
	res, _ := fetch(t, base+"/api/v1/sites", "X-Request-Id", "job-17", "Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	if got := res.Header.Get("X-Request-Id"); got != "job-17" {
		t.Errorf("request id %q", got)
	}
	if got := res.Header.Get("Traceparent"); !strings.HasPrefix(got, "00-"+trace+"-") || strings.Contains(got, "b7ad6b7169203331") {
		t.Errorf("traceparent %q", got)
	}
	asked := p.Asked(contract.ReqGateways)
	if len(asked) != 1 || asked[0].Get("X-Request-Id") != "job-17" || !strings.Contains(asked[0].Get("Traceparent"), trace) {
		t.Errorf("the service was asked with %v", asked)
	}
	res, _ = fetch(t, base+"/api/v1/sites", "X-Request-Id", "two words", "Traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(res.Header.Get("X-Request-Id")) || strings.Contains(res.Header.Get("Traceparent"), strings.Repeat("0", 32)) {
		t.Errorf("made up: %v", res.Header)
	}
	for _, want := range []string{`"request_id":"job-17"`, `"response_code":"ok"`, `"dur":`, `"path":"/api/v1/sites"`} {
		asktest.Await(t, "the access log to say "+want, func() bool { return strings.Contains(log.String(), want) })
	}
}

// lockedBuffer takes a log that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestTooManyRequests(t *testing.T) {
	base, _ := start(t, Config{RatePerSecond: 0.01, Burst: 3})
	for range 3 {
		fetchJSON[sitesBody](t, base+"/api/v1/sites")
	}
	res, _ := fetch(t, base+"/api/v1/sites")
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	if p := fetchProblem(t, base+"/api/v1/sites"); p.Reason != "too_many_requests" {
		t.Errorf("%+v", p)
	}
}

func TestHealthMetricsAndHeaders(t *testing.T) {
	reg := prometheus.NewRegistry()
	base, p := start(t, Config{Gatherer: reg, Registerer: reg, Pages: http.NotFoundHandler()})
	res, body := fetch(t, base+"/healthz")
	if res.StatusCode != 200 || !strings.Contains(string(body), "ok") {
		t.Errorf("%s %s", res.Status, body)
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") {
		t.Errorf("CSP %q", csp)
	}
	if res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Error("no nosniff")
	}
	fetchJSON[sitesBody](t, base+"/api/v1/sites")
	asktest.Await(t, "the request in the metrics", func() bool {
		_, body := fetch(t, base+"/metrics")
		return strings.Contains(string(body), `tidemark_gateway_request_seconds_count{response_code="ok",route="GET /api/v1/sites"} 1`)
	})
	p.Conn.Close()
	if got := fetchProblem(t, base+"/healthz"); got.Status != 503 || got.Reason != "bus_down" {
		t.Errorf("without NATS: %+v", got)
	}
	if got := fetchProblem(t, base+"/api/v1/alerts"); got.Status != 503 || got.Reason != "bus_down" {
		t.Errorf("without NATS: %+v", got)
	}
}

func TestServedPositionsAreSaid(t *testing.T) {
	base, p := start(t, Config{})
	marks := make(chan *nats.Msg, 16)
	if _, err := p.Conn.ChanSubscribe(contract.SubjectHop+"served", marks); err != nil {
		t.Fatal(err)
	}
	if err := p.Conn.Flush(); err != nil {
		t.Fatal(err)
	}
	await := func(want uint64) {
		t.Helper()
		for {
			select {
			case m := <-marks:
				var mark contract.HopMark
				if err := json.Unmarshal(m.Data, &mark); err != nil || mark.Stage != "served" || mark.TimeUs == 0 {
					t.Fatalf("%s: %v", m.Data, err)
				}
				if mark.Through == want {
					return
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("position %d was not said", want)
			}
		}
	}
	fetchJSON[readingsBody](t, base+"/api/v1/readings?site=busan-plant-2&limit=1")
	await(4711)
	for through := uint64(4712); through <= 4720; through++ { // faster than marks may go out: the last one must come
		p.Set(func(s *asktest.State) { s.Fresh.Through = through })
		fetchJSON[readingsBody](t, base+"/api/v1/readings?site=busan-plant-2&limit=1")
	}
	await(4720)
}

func TestListensOnLoopbackOnly(t *testing.T) {
	p := asktest.Start(t, asktest.State{})
	g, err := New(Config{}, p.Conn)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(context.Background(), ln); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("listening on %s: %v", ln.Addr(), err)
	}
	if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

// events reads server-sent events from a live tail.
func events(t *testing.T, url string) (<-chan [2]string, func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	out := make(chan [2]string, 1024)
	go func() {
		defer close(out)
		defer res.Body.Close()
		name := ""
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			if v, ok := strings.CutPrefix(s.Text(), "event: "); ok {
				name = v
			} else if v, ok := strings.CutPrefix(s.Text(), "data: "); ok {
				out <- [2]string{name, v}
			}
		}
	}()
	t.Cleanup(stop)
	return out, stop
}

func next(t *testing.T, ch <-chan [2]string, name string) string {
	t.Helper()
	for {
		select {
		case e, ok := <-ch:
			if !ok {
				t.Fatalf("the tail ended before an event %s", name)
			}
			if e[0] == name {
				return e[1]
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no event %s after 10 s", name)
		}
	}
}

func TestLiveTail(t *testing.T) {
	base, p := start(t, Config{MaxLive: 1})
	p.Set(func(s *asktest.State) { s.Lease = 3 })
	tail, stop := events(t, base+"/api/v1/live?site=busan-plant-2&points=boiler.flow_temp")
	if got := next(t, tail, "state"); got != `{"state":"live"}` {
		t.Errorf("first event: %s", got)
	}
	if got := fetchProblem(t, base+"/api/v1/live?site=busan-plant-2"); got.Reason != "too_many_live_clients" || got.Status != 503 {
		t.Errorf("a second tail: %+v", got)
	}
	reading := func(point string, v any) contract.Reading {
		return contract.Reading{Point: point, TimeMs: 1, Value: v, Quality: "good"}
	}
	p.Live(t, contract.LiveReadings{Site: "sejong-farm", Gateway: "greenhouse-a", Readings: []contract.Reading{reading("boiler.flow_temp", 1)}})
	p.Live(t, contract.LiveReadings{Site: "busan-plant-2", Gateway: "boiler-room", Readings: []contract.Reading{reading("boiler.other", 2)}})
	p.Live(t, contract.LiveReadings{Site: "busan-plant-2", Gateway: "boiler-room", Readings: []contract.Reading{reading("boiler.other", 3), reading("boiler.flow_temp", 71.5)}, Skipped: 4})
	want := `{"site":"busan-plant-2","gateway":"boiler-room","readings":[{"point":"boiler.flow_temp","time_ms":1,"value":71.5,"quality":"good"}],"skipped":4}`
	if got := next(t, tail, "readings"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// The lease is renewed before it ends, and the client hears when that fails.
	asktest.Await(t, "a renewal of the lease", func() bool { return len(p.Asked(contract.ReqLease)) >= 2 })
	if err := p.Stop("data"); err != nil {
		t.Fatal(err)
	}
	if got := next(t, tail, "state"); !strings.Contains(got, `"stalled"`) || !strings.Contains(got, `"no_service"`) {
		t.Errorf("stalled: %s", got)
	}
	if err := p.Resume("data"); err != nil {
		t.Fatal(err)
	}
	if got := next(t, tail, "state"); got != `{"state":"live"}` {
		t.Errorf("live again: %s", got)
	}
	stop()
	asktest.Await(t, "the place of the first tail", func() bool {
		res, err := http.Head(base + "/api/v1/live?site=busan-plant-2")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
}
