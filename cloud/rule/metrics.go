package rule

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what is not worth a log line.
type metrics struct {
	entries, missed, readings, late, future, refused, evaluations, errors, fired, cleared, said, retried prometheus.Counter
	position                                                                                             prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "tidemark_rule_" + name, Help: help})
		all = append(all, c)
		return c
	}
	m := &metrics{
		entries:     counter("entries_total", "Bundles that rules have seen."),
		missed:      counter("missed_entries_total", "Bundles that retention removed from the stream before rules saw them."),
		readings:    counter("readings_total", "Readings of points that rules name."),
		late:        counter("late_readings_total", "Readings that came too late to change a present alert."),
		future:      counter("future_readings_total", "Readings from the future, which were ignored."),
		refused:     counter("refused_messages_total", "Telemetry messages that do not decode."),
		evaluations: counter("evaluations_total", "Conditions evaluated."),
		errors:      counter("errors_total", "Evaluations that ended with an error."),
		fired:       counter("alerts_fired_total", "Alerts fired."),
		cleared:     counter("alerts_cleared_total", "Alerts cleared."),
		said:        counter("alerts_said_total", "Alerts that the platform stream has acknowledged, each when it fires and when it clears."),
		retried:     counter("write_retries_total", "Writes of states that failed and were tried again."),
		position:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidemark_rule_position", Help: "Position in the device stream that rules have passed."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range append(all, m.position) {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("rule: metrics: %w; give each service of a process a registry of its own, or start only one", err)
		}
	}
	return m, nil
}
