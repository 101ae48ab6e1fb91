package data

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the service counts.
type metrics struct {
	reg        prometheus.Registerer
	all        []prometheus.Collector
	readings   prometheus.Counter
	refused    prometheus.Counter
	missed     prometheus.Counter
	damaged    prometheus.Counter
	sealed     prometheus.Counter
	sealFailed prometheus.Counter
	position   prometheus.Gauge
	flush      prometheus.Histogram
	queries    *prometheus.HistogramVec
}

func newMetrics(s *Service, reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "data", Name: name, Help: help})
	}
	m := &metrics{reg: reg,
		readings:   counter("readings_total", "Readings taken over from the device stream since the start."),
		refused:    counter("refused_messages_total", "Committed messages that did not decode."),
		missed:     counter("missed_bundles_total", "Bundles that left the stream before they were stored."),
		damaged:    counter("damaged_files_total", "Files of the hot store that were set aside."),
		sealed:     counter("sealed_readings_total", "Readings written to the lake since the start."),
		sealFailed: counter("seal_failures_total", "Hours that could not be sealed; they are tried again."),
		position: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tidemark", Subsystem: "data", Name: "position",
			Help: "Position in the device stream up to which readings are stored."}),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "tidemark", Subsystem: "data", Name: "flush_seconds",
			Help: "Time to store what was in memory.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 12)}),
		queries: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "tidemark", Subsystem: "data", Name: "query_seconds",
			Help: "Time to answer a request.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}, []string{"request"}),
	}
	m.position.Set(float64(s.flushed))
	lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tidemark", Subsystem: "data", Name: "lag_seconds",
		Help: "How long the oldest bundle that is not served yet has been in the stream."}, func() float64 {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return float64(s.freshness(time.Now()).LagMs) / 1000
	})
	m.all = []prometheus.Collector{m.readings, m.refused, m.missed, m.damaged, m.sealed, m.sealFailed, m.position, m.flush, m.queries, lag}
	if reg == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := reg.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.reg != nil {
		for _, c := range m.all {
			m.reg.Unregister(c)
		}
	}
}
