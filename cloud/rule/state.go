package rule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// unmarshalNumbers is json.Unmarshal with numbers in alerts kept as they stand,
// integers beyond 2^53 too.
func unmarshalNumbers(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return dec.Decode(v)
}

// savedGateway is a gateway's state as it is stored.
type savedGateway struct {
	Clock  int64                 `json:"clock"`
	Points map[string]savedPoint `json:"points"`
	Rules  map[string]savedRule  `json:"rules"`
}

type savedPoint struct {
	Time    int64            `json:"t"`
	Kind    protocol.Kind    `json:"k"`
	Bits    uint64           `json:"b,omitempty"` // of a Float, Int or Bool
	Text    string           `json:"s,omitempty"`
	Quality protocol.Quality `json:"q,omitempty"`
}

type savedRule struct {
	Hash  string          `json:"hash"`
	Phase phase           `json:"phase,omitempty"`
	Since int64           `json:"since,omitempty"`
	Now   int64           `json:"now"`
	Last  int64           `json:"last"`
	Alert *contract.Alert `json:"alert,omitempty"`
}

func (g *gateway) save() ([]byte, error) {
	out := savedGateway{Clock: g.clock, Points: map[string]savedPoint{}, Rules: map[string]savedRule{}}
	for name, p := range g.points {
		if p.quality == protocol.NotRead {
			continue
		}
		sp := savedPoint{Time: p.time, Kind: p.value.Kind(), Text: p.value.Text(), Quality: p.quality}
		switch sp.Kind {
		case protocol.Float:
			sp.Bits = math.Float64bits(p.value.Float())
		case protocol.Int, protocol.Bool:
			sp.Bits = uint64(p.value.Int())
		}
		out.Points[name] = sp
	}
	for _, in := range g.instances {
		out.Rules[in.rule.name] = savedRule{in.rule.hash, in.phase, in.since, in.now, in.last, in.alert}
	}
	return json.Marshal(out)
}

func (p savedPoint) reading() protocol.Value {
	switch p.Kind {
	case protocol.Int:
		return protocol.IntValue(int64(p.Bits))
	case protocol.Bool:
		return protocol.BoolValue(p.Bits != 0)
	case protocol.Text:
		return protocol.TextValue(p.Text)
	}
	return protocol.FloatValue(math.Float64frombits(p.Bits))
}

// restore takes over what was stored. Alerts of rules that are gone or were
// changed since are cleared; it returns them.
func (g *gateway) restore(data []byte) ([]contract.Alert, error) {
	var in savedGateway
	if err := unmarshalNumbers(data, &in); err != nil {
		return nil, fmt.Errorf("rule: state of gateway %s: %w", g.addr, err)
	}
	g.clock = in.Clock
	for name, sp := range in.Points {
		if p := g.points[name]; p != nil {
			p.time = sp.Time
			p.set(sp.reading(), sp.Quality)
		}
	}
	for _, i := range g.instances {
		s, ok := in.Rules[i.rule.name]
		if !ok || s.Hash != i.rule.hash {
			continue
		}
		i.phase, i.since, i.now, i.last, i.alert = s.Phase, s.Since, s.Now, s.Last, s.Alert
		delete(in.Rules, i.rule.name)
	}
	var cleared []contract.Alert
	for name, s := range in.Rules {
		if s.Phase != firing || s.Alert == nil {
			continue
		}
		reason := "rule_removed"
		for _, i := range g.instances {
			if i.rule.name == name {
				reason, i.last = "rule_changed", s.Last
			}
		}
		old := &instance{alert: s.Alert}
		cleared = append(cleared, old.end(time.Now().UnixMilli(), reason))
	}
	return cleared, nil
}
