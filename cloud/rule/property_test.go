package rule

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// obs is a reading in a timeline: value 0 to 3, or bad.
type obs struct {
	at    int64
	point string
	value int // -1: bad
}

// TestAgainstReference applies random timelines, in batches, with late and bad
// readings and restarts between, and holds what fires and clears against a
// reference that says what a rule means in another way: by looking back over
// all evaluations so far.
func TestAgainstReference(t *testing.T) {
	const lateness = 5 * time.Second
	addr := protocol.Gateway{Site: "s", Name: "g"}
	rapid.Check(t, func(t *rapid.T) {
		r := &rule{name: "r", hold: time.Duration(rapid.SampledFrom([]int{0, 1, 3, 7}).Draw(t, "for")) * time.Second}
		ref := &reference{hold: r.hold.Milliseconds(), lateness: lateness.Milliseconds(), newest: map[string]int64{}, value: map[string]int{"a.x": -1, "b.y": -1}}
		texts := []string{"a.x >= 2 && b.y < 3", "a.x >= 2 || b.y == 3", "a.x > b.y"}
		clears := []string{"", "a.x < 1", "b.y == 0 || a.x == 0"}
		ref.when, ref.clear = rapid.IntRange(0, 2).Draw(t, "when"), rapid.IntRange(0, 2).Draw(t, "clear")
		r.when = mustCompile(t, texts[ref.when])
		if clears[ref.clear] != "" {
			r.clear = mustCompile(t, clears[ref.clear])
		}
		r.finish()
		g := newGateway(addr, []*rule{r})
		lim := limits{lateness: lateness, futureMs: math.MaxInt64}
		var got outcome
		now := int64(1_000_000)
		for range rapid.IntRange(1, 20).Draw(t, "batches") {
			batch := drawBatch(t, &now)
			var rs []reading
			for _, o := range batch {
				rd := reading{time: o.at, point: g.points[o.point], value: protocol.IntValue(int64(o.value)), message: &protocol.Message{Epoch: 1, Seq: uint64(o.at)}}
				if o.value < 0 {
					rd.value, rd.quality = protocol.Value{}, protocol.Bad
				}
				rs = append(rs, rd)
			}
			g.apply(rs, lim, &got)
			ref.apply(batch)
			if rapid.Bool().Draw(t, "restart") {
				saved, err := g.save()
				if err != nil {
					t.Fatal(err)
				}
				g = newGateway(addr, []*rule{r})
				if cleared, err := g.restore(saved); err != nil || len(cleared) > 0 {
					t.Fatalf("restart: %v, cleared %v", err, cleared)
				}
			}
		}
		if len(got.errors) > 0 || got.late != ref.late {
			t.Fatalf("errors %v; %d late, not %d", got.errors, got.late, ref.late)
		}
		if s := changes(got.alerts); !reflect.DeepEqual(s, ref.changes) {
			t.Fatalf("%s for %d ms, clear %q:\ngot  %v\nwant %v\nevaluations %v", texts[ref.when], ref.hold, clears[ref.clear], s, ref.changes, ref.evals)
		}
	})
}

func mustCompile(t *rapid.T, text string) *condition {
	c, err := compile(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func drawBatch(t *rapid.T, now *int64) []obs {
	var batch []obs
	for range rapid.SampledFrom([]int{1, 1, 2, 8}).Draw(t, "readings") {
		*now += rapid.SampledFrom([]int64{0, 0, 500, 1000, 2500}).Draw(t, "gap")
		o := obs{*now, rapid.SampledFrom([]string{"a.x", "b.y"}).Draw(t, "point"), rapid.IntRange(-1, 3).Draw(t, "value")}
		if rapid.IntRange(0, 5).Draw(t, "late") == 0 {
			o.at -= rapid.SampledFrom([]int64{700, 4000, 20000}).Draw(t, "by")
		}
		batch = append(batch, o)
	}
	return batch
}

func changes(alerts []contract.Alert) (out []string) {
	for _, a := range alerts {
		if a.State == "firing" {
			out = append(out, fmt.Sprintf("fired %d since %d", a.FiredMs, a.SinceMs))
		} else {
			out = append(out, fmt.Sprintf("cleared %d", a.ClearedMs))
		}
	}
	return out
}

// evaluation is what the conditions were at an event time.
type evaluation struct {
	at          int64
	when, clear tri
}

type reference struct {
	hold, lateness int64
	when, clear    int
	newest         map[string]int64
	value          map[string]int
	top            int64
	late           int
	evals          []evaluation
	begin          int   // first evaluation behind the newest clear
	fired          bool  // now
	since          int64 // of the newest alert; 0: none yet
	changes        []string
}

func (r *reference) apply(batch []obs) {
	sorted := slices.Clone(batch)
	slices.SortStableFunc(sorted, func(a, b obs) int { return int(a.at - b.at) })
	for i, o := range sorted {
		if old, ok := r.newest[o.point]; ok && o.at < old || o.at < r.top-r.lateness {
			r.late++
			sorted[i].point = ""
		} else {
			r.newest[o.point], r.value[o.point], r.top = o.at, o.value, max(r.top, o.at)
		}
		if i+1 < len(sorted) && sorted[i+1].at == o.at {
			continue
		}
		if slices.ContainsFunc(sorted, func(s obs) bool { return s.at == o.at && s.point != "" }) {
			r.evaluate(o.at)
		}
	}
}

func (r *reference) evaluate(at int64) {
	if n := len(r.evals); n > 0 {
		at = max(at, r.evals[n-1].at)
	}
	x, y := r.value["a.x"], r.value["b.y"]
	is := func(known bool, v bool) tri {
		switch {
		case !known:
			return unknown
		case v:
			return yes
		}
		return no
	}
	and := func(a, b tri) tri { return map[bool]tri{true: no, false: min(a, b)}[a == no || b == no] }
	or := func(a, b tri) tri {
		return map[bool]tri{true: yes, false: map[bool]tri{true: no, false: unknown}[a == no && b == no]}[a == yes || b == yes]
	}
	e := evaluation{at: at}
	switch r.when {
	case 0:
		e.when = and(is(x >= 0, x >= 2), is(y >= 0, y < 3))
	case 1:
		e.when = or(is(x >= 0, x >= 2), is(y >= 0, y == 3))
	case 2:
		e.when = is(x >= 0 && y >= 0, x > y)
	}
	switch r.clear {
	case 0:
		e.clear = map[tri]tri{yes: no, no: yes}[e.when]
	case 1:
		e.clear = is(x >= 0, x < 1)
	case 2:
		e.clear = or(is(y >= 0, y == 0), is(x >= 0, x == 0))
	}
	r.evals = append(r.evals, e)
	r.judge()
}

// judge says whether the newest evaluation fires or clears.
func (r *reference) judge() {
	last := len(r.evals) - 1
	e := r.evals[last]
	if r.fired {
		if e.clear == yes {
			r.fired, r.begin = false, last+1
			r.changes = append(r.changes, fmt.Sprintf("cleared %d", e.at))
		}
		return
	}
	if e.when != yes {
		return
	}
	start := int64(-1) // the condition has not been false since
	for i := last; i >= r.begin && r.evals[i].when != no; i-- {
		if r.evals[i].when == yes {
			start = r.evals[i].at
		}
	}
	if r.since > 0 {
		start = max(start, r.since+1) // no two alerts begin at the same time
	}
	if e.at-start >= r.hold {
		r.fired, r.since = true, start
		r.changes = append(r.changes, fmt.Sprintf("fired %d since %d", e.at, start))
	}
}
