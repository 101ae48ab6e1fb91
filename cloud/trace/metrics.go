package trace

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark/protocol"
)

// metrics counts what is not worth a log line.
type metrics struct {
	duration *prometheus.HistogramVec
	stages   map[protocol.Stage]prometheus.Observer
	entries  prometheus.Counter
	messages prometheus.Counter
	letters  prometheus.Counter
	missed   prometheus.Counter
	badMarks prometheus.Counter
	badBody  prometheus.Counter
	retried  prometheus.Counter
	position prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "tidemark_trace_" + name, Help: help})
	}
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tidemark_action_duration_seconds",
			Help:    "Time from one stage of a message to the next: for sent one observation a message, for the stages behind it one a bundle.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400}}, []string{"stage"}),
		entries:  counter("entries_total", "Bundles taken into the ledger."),
		messages: counter("messages_total", "Messages taken into the ledger."),
		letters:  counter("dead_letters_total", "Dead letters taken into the ledger."),
		missed:   counter("missed_entries_total", "Bundles that retention removed from the stream before the ledger read them."),
		badMarks: counter("refused_marks_total", "Hop marks that are none."),
		badBody:  counter("refused_bodies_total", "Bodies of heartbeats, dropped and outage messages that do not decode."),
		retried:  counter("write_retries_total", "Writes to the ledger's file that failed and were tried again."),
		position: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidemark_trace_position", Help: "Position in the device stream that the ledger has written."}),
		stages:   map[protocol.Stage]prometheus.Observer{},
	}
	for _, st := range []protocol.Stage{protocol.Sent, protocol.Received, protocol.Committed, protocol.Ruled, protocol.Stored, protocol.Served} {
		m.stages[st] = m.duration.WithLabelValues(string(st))
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.duration, m.entries, m.messages, m.letters, m.missed, m.badMarks, m.badBody, m.retried, m.position} {
		if err := reg.Register(c); err != nil {
			var twice prometheus.AlreadyRegisteredError
			if errors.As(err, &twice) {
				return nil, fmt.Errorf("trace: metrics: %w; give each service of a process a registry of its own, or start only one", err)
			}
			return nil, fmt.Errorf("trace: metrics: %w", err)
		}
	}
	return m, nil
}

// observe notes how long a stage took; less than nothing, which clocks that
// differ can say, counts as nothing.
func (m *metrics) observe(st protocol.Stage, us int64) {
	m.stages[st].Observe(float64(max(us, 0)) / 1e6)
}
