package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/protocol"
)

// maxEntries is how many entries are gathered at most before their effect is
// written.
const maxEntries = 1000

// repeatMark is how often the newest hop mark is said again, for a trace
// service that was not there to hear it.
const repeatMark = 5 * time.Second

// evaluator is the service's loop: the only writer of states.
type evaluator struct {
	*Service
	position uint64
	entries  int
	dirty    map[*gateway]bool
	out      outcome
	readings []reading
	mark     contract.HopMark
}

func (s *Service) evaluate(ctx context.Context, after uint64, entries <-chan *stream.Entry) error {
	e := &evaluator{Service: s, position: after, dirty: map[*gateway]bool{}}
	if after > 0 {
		e.mark = contract.HopMark{Stage: protocol.Ruled, Through: after, TimeUs: time.Now().UnixMicro()}
	}
	lookup := s.reader.Lookup(ctx)
	tick := time.NewTicker(s.cfg.CommitEvery)
	defer tick.Stop()
	repeat := time.NewTicker(repeatMark)
	defer repeat.Stop()
	for {
		select {
		case entry, ok := <-entries:
			if !ok { // the reader ended, as it does with ctx
				return e.flush(context.WithoutCancel(ctx))
			}
			e.take(ctx, entry, lookup)
		case <-tick.C:
			if err := e.flush(ctx); err != nil {
				return err
			}
		case <-repeat.C:
			e.sayMark()
		}
		if e.entries >= maxEntries || len(e.out.alerts) > 0 { // an alert does not wait
			if err := e.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// take applies an entry to the rules of its gateway.
func (e *evaluator) take(ctx context.Context, entry *stream.Entry, lookup protocol.LookupSchema) {
	if ctx.Err() != nil {
		return
	}
	if len(e.rules) > 0 && len(entry.Messages) > 0 {
		e.mu.Lock()
		g := e.gateways[entry.Gateway]
		if g == nil {
			g = newGateway(entry.Gateway, e.rules)
			e.gateways[entry.Gateway] = g
		}
		refused := e.gather(g, entry, lookup)
		if ctx.Err() != nil { // schemas may be missing because of that: the entry is read again after the start
			e.mu.Unlock()
			return
		}
		e.metrics.refused.Add(float64(refused))
		if len(e.readings) > 0 {
			received := entry.CommittedUs
			if entry.ReceivedUs > 0 {
				received = entry.ReceivedUs
			}
			lim := limits{lateness: e.cfg.MaxLateness, futureMs: received/1000 + MaxClockError.Milliseconds()}
			g.apply(e.readings, lim, &e.out)
			e.dirty[g] = true
		}
		e.count()
		e.mu.Unlock()
	}
	e.position = entry.Sequence
	e.entries++
	e.metrics.entries.Inc()
	e.metrics.missed.Add(float64(entry.Missed))
}

// gather collects the readings of points that rules name. It returns how many
// messages do not decode.
func (e *evaluator) gather(g *gateway, entry *stream.Entry, lookup protocol.LookupSchema) (refused int) {
	clear(e.readings)
	e.readings = e.readings[:0]
	if len(g.instances) == 0 {
		return 0
	}
	offset := clockOffset(entry)
	for _, m := range entry.Messages {
		if m.Type != protocol.TypeTelemetry {
			continue
		}
		id, err := m.SchemaOf()
		if err != nil {
			refused++
			continue
		}
		w := g.wantOf(id, lookup)
		if w == nil {
			continue
		}
		t, err := m.TelemetryOf(lookup, func(p int) bool { return w.columns[p] != nil })
		if err != nil {
			refused++
			continue
		}
		e.readings = appendReadings(e.readings, m, t, w, offset)
	}
	return refused
}

// clockOffset returns what to add to the times of an entry's live readings:
// nothing, unless the gateway's clock was off when it sent the entry.
func clockOffset(entry *stream.Entry) int64 {
	if entry.SentMs <= 0 || entry.ReceivedUs <= 0 {
		return 0
	}
	off := entry.ReceivedUs/1000 - entry.SentMs
	if max(off, -off) <= MaxClockError.Milliseconds() {
		return 0
	}
	return off
}

func appendReadings(rs []reading, m *protocol.Message, t *protocol.Telemetry, w *want, offset int64) []reading {
	recorded := m.Clock == protocol.ClockRecorded
	if recorded {
		offset = 0
	}
	for scan := range t.Scans {
		for c, p := range w.columns {
			if p == nil {
				continue
			}
			r := t.Columns[c].Reading(scan)
			if r.Quality == protocol.NotRead {
				continue
			}
			rs = append(rs, reading{time: t.Time(scan, c) + offset, point: p, value: r.Value, quality: r.Quality, recorded: recorded, message: m})
		}
	}
	return rs
}

// count moves what applying did into the metrics and the rules' errors.
func (e *evaluator) count() {
	o := &e.out
	e.metrics.readings.Add(float64(len(e.readings)))
	e.metrics.late.Add(float64(o.late))
	e.metrics.future.Add(float64(o.future))
	e.metrics.evaluations.Add(float64(o.evaluations))
	e.metrics.errors.Add(float64(len(o.errors)))
	for _, re := range o.errors {
		if e.errors[re.rule.name] == "" {
			e.cfg.Log.Warn("a rule cannot be evaluated; it is taken as unknown", "rule", re.rule.name, "file", re.rule.file, "err", re.err)
		}
		e.errors[re.rule.name] = re.err.Error()
	}
	o.late, o.future, o.evaluations, o.errors = 0, 0, 0, o.errors[:0]
}

// flush writes the effect of what was taken in, together with the position. A
// failure, such as a full disk, is tried again until it passes.
func (e *evaluator) flush(ctx context.Context) error {
	if e.entries == 0 {
		return nil
	}
	failures, since := 0, time.Now()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := e.store.commit(e.position, e.dirty, e.out.alerts)
		if err == nil {
			break
		}
		if ctx.Err() != nil || ctx.Done() == nil { // at the end there is one attempt: what is not written is read again
			return fmt.Errorf("rule: write the states: %w", err)
		}
		if failures++; failures == 1 {
			e.cfg.Log.Error("the states of rules cannot be written; it is tried again, and no alert is said meanwhile", "err", err)
		}
		e.metrics.retried.Inc()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	if failures > 0 {
		e.cfg.Log.Info("the states of rules are written again", "failures", failures, "dur", time.Since(since))
	}
	e.done()
	return nil
}

// done follows a commit.
func (e *evaluator) done() {
	for _, a := range e.out.alerts {
		if a.State == "firing" {
			e.metrics.fired.Inc()
		} else {
			e.metrics.cleared.Inc()
		}
	}
	if len(e.out.alerts) > 0 {
		select {
		case e.wake <- struct{}{}:
		default: // it is awake
		}
	}
	e.mu.Lock()
	e.written = e.position
	e.mu.Unlock()
	e.metrics.position.Set(float64(e.position))
	clear(e.dirty)
	e.entries, e.out.alerts = 0, e.out.alerts[:0]
	e.mark = contract.HopMark{Stage: protocol.Ruled, Through: e.position, TimeUs: time.Now().UnixMicro()}
	e.sayMark()
}

// sayMark publishes the newest hop mark; one that is lost is said again.
func (e *evaluator) sayMark() {
	if e.mark.Through == 0 {
		return
	}
	b, err := json.Marshal(e.mark)
	if err == nil {
		err = e.conn.Publish(contract.SubjectHop+string(protocol.Ruled), b)
	}
	if err != nil {
		e.cfg.Log.Debug("a hop mark could not be said", "err", err)
	}
}
