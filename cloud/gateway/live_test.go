package gateway

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tidemark/cloud/ask/asktest"
	"tidemark/cloud/contract"
)

// A client that does not read fills its queue; what it reads at last ends with the reason.
func TestSlowLiveClientIsDroppedWithAReason(t *testing.T) {
	base, p := start(t, Config{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /api/v1/live?site=s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	asktest.Await(t, "the lease", func() bool { return len(p.Asked(contract.ReqLease)) > 0 })
	big := contract.LiveReadings{Site: "s", Gateway: "g", Readings: []contract.Reading{{Point: "d.p", Value: strings.Repeat("x", 100_000), Quality: "good"}}}
	for range 2 * liveQueue {
		p.Live(t, big)
	}
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	var all strings.Builder
	if _, err := io.Copy(&all, conn); err != nil && !strings.Contains(all.String(), "slow_client") {
		t.Fatal(err)
	}
	batches := strings.Count(all.String(), "event: readings")
	if !strings.Contains(all.String(), `"reason":"slow_client"`) || batches == 0 || batches == 2*liveQueue {
		t.Errorf("after %d batches the tail ended with %.400s", batches, all.String()[max(0, all.Len()-400):])
	}
	// A client that reads is not disturbed.
	tail, _ := events(t, base+"/api/v1/live?site=s")
	next(t, tail, "state")
	p.Live(t, contract.LiveReadings{Site: "s", Gateway: "g", Readings: []contract.Reading{{Point: "d.p", Value: 1, Quality: "good"}}})
	if got := next(t, tail, "readings"); !strings.Contains(got, `"value":1`) {
		t.Errorf("%.200s", got)
	}
}

// The server's bound on reading a request must not end a tail.
func TestLiveTailOutlivesTheReadTimeout(t *testing.T) {
	p := asktest.Start(t, asktest.State{Lease: 3})
	g, err := New(Config{}, p.Conn)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: g.Handler(), ReadTimeout: 200 * time.Millisecond}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	tail, _ := events(t, "http://"+ln.Addr().String()+"/api/v1/live?site=busan-plant-2")
	next(t, tail, "state")
	before := len(p.Asked(contract.ReqLease))
	// Three renewals, one second apart: by then the bound has passed many times.
	asktest.Await(t, "renewals", func() bool { return len(p.Asked(contract.ReqLease)) >= before+2 })
	p.Live(t, contract.LiveReadings{Site: "busan-plant-2", Gateway: "boiler-room", Readings: []contract.Reading{{Point: "d.p", Value: 1, Quality: "good"}}})
	next(t, tail, "readings")
}
