package receiver

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	committed, duplicates, dead, refused, failed, races, bytes prometheus.Counter
	duration                                                   prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "receiver", Name: name, Help: help})
	}
	m := metrics{
		committed:  counter("messages_committed_total", "Messages appended to the stream."),
		duplicates: counter("messages_duplicate_total", "Messages that were in the stream already and were left out."),
		dead:       counter("messages_dead_total", "Messages that went to the dead letters."),
		refused:    counter("bundles_refused_total", "Bundles that were refused as a whole; gateways send their messages apart."),
		failed:     counter("bundles_failed_total", "Bundles that could not be taken; gateways send them again."),
		races:      counter("commit_races_total", "Appends that another receiver's came before."),
		bytes:      counter("bytes_committed_total", "Bytes appended to the stream."),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "tidemark", Subsystem: "receiver", Name: "commit_duration_seconds",
			Help: "From a bundle's arrival until it is on disk in the stream.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
	}
	if reg != nil {
		reg.MustRegister(m.committed, m.duplicates, m.dead, m.refused, m.failed, m.races, m.bytes, m.duration)
	}
	return m
}
