package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// way is the network between agent and broker: real TCP through a proxy that can be bad.
type way struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

func newWay(t *testing.T, upstream string) *way {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	w := &way{t: t, proxy: toxiproxy.NewProxy(server, t.Name(), freePort(t), upstream)}
	if err := w.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.proxy.Stop)
	return w
}

func (w *way) addr() string { return w.proxy.Listen }

func (w *way) add(kind, direction, attributes string) {
	w.t.Helper()
	json := fmt.Sprintf(`{"name": "%s-%s", "type": "%[1]s", "stream": "%[2]s", "attributes": {%s}}`, kind, direction, attributes)
	if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(json)); err != nil {
		w.t.Fatal(err)
	}
}

// cut ends the connections and refuses others.
func (w *way) cut() { w.proxy.Stop() }

// good makes the way whole again.
func (w *way) good() {
	w.t.Helper()
	w.proxy.Toxics.ResetToxics(context.Background())
	if !w.proxy.Enabled {
		if err := w.proxy.Start(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// spoil makes the way bad in a random manner, and says how.
func (w *way) spoil(r *rand.Rand) string {
	w.t.Helper()
	w.good()
	switch r.IntN(6) {
	case 0:
		return "good"
	case 1:
		w.cut()
		return "cut"
	case 2:
		latency := 5 + r.IntN(150)
		w.add("latency", "upstream", fmt.Sprintf(`"latency": %d, "jitter": %d`, latency, latency/2))
		w.add("latency", "downstream", fmt.Sprintf(`"latency": %d, "jitter": %d`, latency, latency/2))
		return fmt.Sprintf("delayed by %d ms", latency)
	case 3: // the packet that a connection resets at is not delivered
		direction := [...]string{"upstream", "downstream"}[r.IntN(2)]
		w.add("reset_peer", direction, fmt.Sprintf(`"timeout": %d`, r.IntN(200)))
		return "reset " + direction
	case 4: // cut in the middle of a packet
		w.add("limit_data", "upstream", fmt.Sprintf(`"bytes": %d`, 200+r.IntN(40_000)))
		return "ends after some bytes"
	}
	w.add("slicer", "upstream", `"average_size": 700, "size_variation": 600, "delay": 200`)
	w.add("timeout", "downstream", `"timeout": 0`) // acks vanish, and the connection stays
	return "acks vanish"
}

// sleep lets the system run for a random while: the moment is what the test is about, not something to wait for.
func sleep(d time.Duration) { time.Sleep(d) }
