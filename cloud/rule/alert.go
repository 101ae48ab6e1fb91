package rule

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// alertID follows from what fired and since when, so that the same firing has
// the same id whenever it is worked out.
func alertID(rule string, g protocol.Gateway, since int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", rule, g, since))
	return hex.EncodeToString(sum[:12])
}

func (g *gateway) fire(in *instance, now int64) contract.Alert {
	a := &contract.Alert{ID: alertID(in.rule.name, g.addr, in.since), Rule: in.rule.name, Site: g.addr.Site, Gateway: g.addr.Name,
		Severity: in.rule.severity, State: "firing", FiredMs: max(now, in.since), SinceMs: in.since, Values: map[string]any{}, TraceID: in.trace.String()}
	for _, name := range in.rule.points {
		if v, ok := shown(in.points[name]); ok {
			a.Values[name] = v
		}
	}
	a.Summary = in.rule.summary.render(func(name string) (any, bool) { return shown(in.points[name]) })
	in.phase, in.alert, in.last = firing, a, in.since
	return *a
}

// end clears the alert of a firing instance.
func (in *instance) end(now int64, reason string) contract.Alert {
	a := *in.alert
	a.State, a.ClearedMs, a.ClearedReason = "cleared", max(now, a.FiredMs), reason
	in.phase, in.alert = idle, nil
	return a
}

// shown returns a point's value as an alert shows it. JSON has no NaN and no
// infinities: they are texts.
func shown(p *point) (any, bool) {
	if p.quality >= protocol.Bad {
		return nil, false
	}
	if f := p.value.Float(); p.value.Kind() == protocol.Float && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return strconv.FormatFloat(f, 'g', -1, 64), true
	}
	return p.value.Any(), true
}
