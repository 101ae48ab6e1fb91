package rule

import (
	"math"
	"testing"
	"time"

	"tidemark/protocol"
)

// TestTwoAlertsNeverShareAnID fires, clears and fires again at one event time:
// the second alert waits until the time has moved, and has an id of its own.
func TestTwoAlertsNeverShareAnID(t *testing.T) {
	c, err := compile("a.x > 1")
	if err != nil {
		t.Fatal(err)
	}
	r := &rule{name: "r", when: c}
	r.finish()
	g := newGateway(plantA, []*rule{r})
	var out outcome
	at := func(ms int64, v int64) {
		g.apply([]reading{{time: ms, point: g.points["a.x"], value: protocol.IntValue(v), message: &protocol.Message{Epoch: 1, Seq: 1}}},
			limits{lateness: time.Second, futureMs: math.MaxInt64}, &out)
	}
	at(5000, 2)
	at(5000, 0)
	at(5000, 2)
	if len(out.alerts) != 2 {
		t.Fatalf("alerts %+v", out.alerts)
	}
	at(5001, 2)
	if len(out.alerts) != 3 || out.alerts[2].ID == out.alerts[0].ID || out.alerts[2].SinceMs != 5001 {
		t.Fatalf("alerts %+v", out.alerts)
	}
}
