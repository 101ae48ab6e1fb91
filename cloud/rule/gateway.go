package rule

import (
	"math"
	"slices"
	"time"

	"cel.dev/cel-go/common/types/ref"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// phase is where a rule stands at a gateway.
type phase uint8

const (
	idle    phase = iota
	pending       // the condition holds, not yet for long enough
	firing
)

// point is the newest reading of a point of a gateway.
type point struct {
	name    string
	time    int64 // milliseconds since the Unix epoch; event time
	value   protocol.Value
	quality protocol.Quality // NotRead: there is none yet
	cel     ref.Val
	celQ    ref.Val
	users   []*instance // rules whose conditions name it
}

func newPoint(name string) *point {
	p := &point{name: name, time: math.MinInt64}
	p.set(protocol.Value{}, protocol.NotRead)
	return p
}

func (p *point) set(v protocol.Value, q protocol.Quality) {
	p.value, p.quality = v, q
	p.cel, p.celQ = celValue(p.name, v, q), celQuality(p.name, q)
}

// instance is a rule at a gateway.
type instance struct {
	rule   *rule
	points map[string]*point // by the names of the rule's variables
	look   lookup

	phase phase
	since int64 // event time at which the condition began to hold
	now   int64 // newest event time at which it was evaluated
	// last is the since of the alert before, so that two never have the same.
	last  int64
	alert *contract.Alert // while firing

	stale       bool // a reading changed since the conditions were evaluated
	when, clear tri
	touched     bool // in the group of readings being applied
	trace       protocol.TraceID
}

// gateway is the state of all rules at a gateway.
type gateway struct {
	addr      protocol.Gateway
	points    map[string]*point
	instances []*instance
	clock     int64 // newest event time of a live reading
	wants     map[protocol.SchemaID]*want
	touched   []*instance
}

// want is what of a schema the rules need: a point for each column, nil for
// those that no rule names. A nil want needs nothing.
type want struct{ columns []*point }

// maxWants bounds how many schemas a gateway's state remembers.
const maxWants = 1000

func newGateway(addr protocol.Gateway, rules []*rule) *gateway {
	g := &gateway{addr: addr, points: map[string]*point{}, wants: map[protocol.SchemaID]*want{}, clock: math.MinInt64}
	for _, r := range rules {
		if r.site != "" && r.site != addr.Site {
			continue
		}
		in := &instance{rule: r, points: map[string]*point{}, now: math.MinInt64, last: math.MinInt64, stale: true}
		for _, name := range r.points {
			p := g.point(name)
			p.users = append(p.users, in)
			in.points[name] = p
		}
		for _, name := range r.shown {
			in.points[name] = g.point(name)
		}
		in.look = in.resolve
		g.instances = append(g.instances, in)
	}
	return g
}

func (g *gateway) point(name string) *point {
	p := g.points[name]
	if p == nil {
		p = newPoint(name)
		g.points[name] = p
	}
	return p
}

// resolve gives CEL the value of a variable.
func (in *instance) resolve(name string) (any, bool) {
	if p := in.points[name]; p != nil {
		return p.cel, true
	}
	if len(name) > len(qualityPrefix) {
		if p := in.points[name[len(qualityPrefix):]]; p != nil {
			return p.celQ, true
		}
	}
	return nil, false
}

// wantOf returns what of a schema the rules need; nil if nothing.
func (g *gateway) wantOf(id protocol.SchemaID, lookup protocol.LookupSchema) *want {
	w, known := g.wants[id]
	if known {
		return w
	}
	s := lookup(id)
	if s == nil {
		return nil
	}
	for i, p := range s.Points {
		if pt := g.points[p.Name]; pt != nil {
			if w == nil {
				w = &want{columns: make([]*point, len(s.Points))}
			}
			w.columns[i] = pt
		}
	}
	if len(g.wants) >= maxWants {
		clear(g.wants)
	}
	g.wants[id] = w
	return w
}

// reading is one reading of a point that a rule names.
type reading struct {
	time     int64
	point    *point
	value    protocol.Value
	quality  protocol.Quality
	recorded bool
	message  *protocol.Message
}

// outcome is what applying readings did.
type outcome struct {
	alerts       []contract.Alert // fired and cleared, in order
	late, future int
	evaluations  int
	errors       []ruleError
}

type ruleError struct {
	rule *rule
	err  error
}

// limits is what decides which readings count.
type limits struct {
	lateness time.Duration
	futureMs int64 // live readings behind this time are from the future
}

// apply takes readings in, in the order of their times, and evaluates the
// rules that name them at each of those times.
func (g *gateway) apply(rs []reading, lim limits, out *outcome) {
	before := func(a, b reading) int {
		switch {
		case a.time < b.time:
			return -1
		case a.time > b.time:
			return 1
		}
		return 0
	}
	if !slices.IsSortedFunc(rs, before) {
		slices.SortStableFunc(rs, before)
	}
	for i := 0; i < len(rs); {
		now := rs[i].time
		for ; i < len(rs) && rs[i].time == now; i++ {
			g.take(&rs[i], lim, out)
		}
		for _, in := range g.touched {
			in.touched = false
			g.step(in, max(in.now, now), out)
		}
		g.touched = g.touched[:0]
	}
}

// take makes a reading the newest of its point, unless it is late or from the
// future.
func (g *gateway) take(r *reading, lim limits, out *outcome) {
	p := r.point
	late := r.time < p.time
	if !r.recorded {
		if r.time > lim.futureMs {
			out.future++
			return
		}
		late = late || g.clock != math.MinInt64 && r.time < g.clock-lim.lateness.Milliseconds()
	}
	if late {
		out.late++
		return
	}
	if !r.recorded {
		g.clock = max(g.clock, r.time)
	}
	changed := p.value != r.value || p.quality != r.quality
	p.time = r.time
	if changed {
		p.set(r.value, r.quality)
	}
	for _, in := range p.users {
		in.stale = in.stale || changed
		in.trace = r.message.TraceID()
		if !in.touched {
			in.touched = true
			g.touched = append(g.touched, in)
		}
	}
}

// step evaluates a rule at an event time and moves it on. It makes at most one
// transition between firing and not.
func (g *gateway) step(in *instance, now int64, out *outcome) {
	in.now = now
	if in.stale {
		in.evaluate(out)
	}
	if in.phase == firing {
		if in.clear == yes || in.rule.clear == nil && in.when == no {
			out.alerts = append(out.alerts, in.end(now, ""))
		}
		return
	}
	switch in.when {
	case no:
		in.phase = idle
	case yes:
		if in.phase == idle {
			in.phase, in.since = pending, max(now, in.last+1)
		}
		if now-in.since >= in.rule.hold.Milliseconds() {
			out.alerts = append(out.alerts, g.fire(in, now))
		}
	}
}

func (in *instance) evaluate(out *outcome) {
	in.stale = false
	note := func(c *condition) tri {
		if c == nil {
			return unknown
		}
		out.evaluations++
		t, err := c.eval(in.look)
		if err != nil {
			out.errors = append(out.errors, ruleError{in.rule, err})
		}
		return t
	}
	in.when, in.clear = note(in.rule.when), note(in.rule.clear)
}
