package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark/protocol"
)

// metrics are the gateway's own figures.
type metrics struct{ requests *prometheus.HistogramVec }

func newMetrics(reg prometheus.Registerer, live chan struct{}) (*metrics, error) {
	m := &metrics{requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tidemark_gateway_request_seconds", Help: "Time to answer HTTP requests, by route and response_code; live tails count for as long as they last.",
		Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30},
	}, []string{"route", "response_code"})}
	if reg == nil {
		return m, nil
	}
	tails := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tidemark_gateway_live_clients", Help: "Clients that follow a live tail."},
		func() float64 { return float64(len(live)) })
	for _, c := range []prometheus.Collector{m.requests, tails} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// request counts one answer. The route is the pattern of the mux, of which
// there are few, and never the path, of which there are endlessly many.
func (m *metrics) request(route string, code protocol.ResponseCode, dur time.Duration) {
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, string(code)).Observe(dur.Seconds())
}
