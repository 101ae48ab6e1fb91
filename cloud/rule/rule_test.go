package rule

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
)

const boilerRules = `
rules:
  - name: boiler-overheat
    site: harbour
    when: boiler.temp_c > 85 && boiler.state == 3
    for: 30s
    clear_when: boiler.temp_c < 80
    severity: critical
    summary: "Boiler is too hot: {boiler.temp_c} °C at {meter-main.l1_v} V"
  - name: low-voltage
    when: point("meter-main.l1_v") < 207
  - name: wrong-kind
    when: boiler.mode > 3
`

var boilerNames = []string{"boiler.temp_c", "boiler.state", "boiler.mode", "meter-main.l1_v"}

func describe(alerts []contract.Alert) string {
	var out []string
	for _, a := range alerts {
		out = append(out, a.Rule+" "+a.Gateway+" "+a.State)
	}
	return strings.Join(out, ", ")
}

// TestAlert fires and clears, over restarts, with late and bad readings.
func TestAlert(t *testing.T) {
	l := newLab(t)
	cfg := Config{Dir: t.TempDir(), Rules: rulesIn(t, boilerRules), CommitEvery: 20 * time.Millisecond}
	t0 := time.Now().Add(-time.Hour).UnixMilli()
	at := func(s int) int64 { return t0 + int64(s)*1000 }
	scan := func(s int, temp any, state int) row { return row{at(s), []any{temp, state, "auto", 230.5}} }

	s, stop := l.start(cfg)
	seq := l.Commit(plantA, l.message(1, boilerNames, scan(0, 90.0, 3), scan(10, 90.5, 3), scan(20, 91.0, 3)))
	l.passed(s, seq)
	if a := ask[contract.AlertsResult](l, contract.ReqAlerts, contract.AlertsQuery{}); len(a.Alerts) != 0 {
		t.Fatalf("fired too early: %+v", a)
	}
	stop() // what has begun goes on after a restart
	s, stop = l.start(cfg)
	// Another site, and a bad reading, which neither fires nor clears.
	l.Commit(plantB, l.message(1, boilerNames, scan(0, 90.0, 3), scan(100, 90.0, 3)))
	seq = l.Commit(plantA, l.message(2, boilerNames, scan(35, nil, 3)))
	l.passed(s, seq)
	if a := ask[contract.AlertsResult](l, contract.ReqAlerts, contract.AlertsQuery{}); len(a.Alerts) != 0 {
		t.Fatalf("fired on a bad reading: %+v", a)
	}
	fires := l.message(3, boilerNames, scan(40, 92.25, 3), scan(41, 82.0, 3))
	l.passed(s, l.Commit(plantA, fires))
	got := ask[contract.AlertsResult](l, contract.ReqAlerts, contract.AlertsQuery{Site: "harbour", State: "firing"})
	want := contract.Alert{Rule: "boiler-overheat", Site: "harbour", Gateway: "gw-1", Severity: "critical", State: "firing",
		Summary: "Boiler is too hot: 92.25 °C at 230.5 V", SinceMs: at(0), FiredMs: at(40), TraceID: fires.TraceID().String(),
		Values: map[string]any{"boiler.temp_c": 92.25, "boiler.state": 3.0}}
	if len(got.Alerts) != 1 {
		t.Fatalf("alerts: %+v", got)
	}
	want.ID = got.Alerts[0].ID
	if !reflect.DeepEqual(got.Alerts[0], want) {
		t.Errorf("alert %+v, want %+v", got.Alerts[0], want)
	}
	stop()
	s, stop = l.start(cfg)
	// A backlog that is late neither clears nor fires; then a reading of now clears.
	l.passed(s, l.Commit(plantA, l.message(4, boilerNames, scan(5, 20.0, 3), scan(30, 20.0, 3))))
	if a := ask[contract.AlertsResult](l, contract.ReqAlerts, contract.AlertsQuery{State: "firing"}); len(a.Alerts) != 1 || a.Alerts[0].ID != want.ID {
		t.Fatalf("late readings changed the alerts: %+v", a)
	}
	l.passed(s, l.Commit(plantA, l.message(5, boilerNames, scan(50, 79.0, 3))))
	got = ask[contract.AlertsResult](l, contract.ReqAlerts, contract.AlertsQuery{})
	if describe(got.Alerts) != "boiler-overheat gw-1 cleared" || got.Alerts[0].ID != want.ID || got.Alerts[0].ClearedMs != at(50) {
		t.Errorf("not cleared: %+v", got)
	}
	// A late reading does not fire again.
	l.passed(s, l.Commit(plantA, l.message(6, boilerNames, scan(44, 99.0, 3), scan(46, 99.0, 3))))
	streamtest.Eventually(t, "both are said", func() bool { return len(l.said()) == 2 })
	if d := describe(l.said()); d != "boiler-overheat gw-1 firing, boiler-overheat gw-1 cleared" {
		t.Errorf("said %s", d)
	}
	rules := ask[contract.RulesResult](l, contract.ReqRules, contract.RulesQuery{})
	if len(rules.Rules) != 3 || !strings.Contains(rules.Rules[2].Error, "no such overload") || rules.Rules[0].Error != "" || rules.Rules[0].ForMs != 30000 {
		t.Errorf("rules: %+v", rules)
	}
	stop()
}

// TestRulesThatGo clears the alerts of rules that are removed or changed, once.
func TestRulesThatGo(t *testing.T) {
	l := newLab(t)
	cfg := Config{Dir: t.TempDir(), CommitEvery: 20 * time.Millisecond, Rules: rulesIn(t, `
rules:
  - {name: stays, when: a.x > 1}
  - {name: goes, when: a.x > 2}
  - {name: changes, when: a.x > 3}
`)}
	s, stop := l.start(cfg)
	now := time.Now().UnixMilli()
	l.passed(s, l.Commit(plantA, l.message(1, []string{"a.x"}, row{now - 5000, []any{9}})))
	streamtest.Eventually(t, "three are said", func() bool { return len(l.said()) == 3 })
	stop()
	cfg.Rules = rulesIn(t, "rules:\n  - {name: stays, when: a.x > 1, severity: info}\n  - {name: changes, when: a.x > 4}\n")
	for range 2 {
		s, stop = l.start(cfg)
		l.passed(s, 1)
		streamtest.Eventually(t, "two more are said", func() bool { return len(l.said()) == 5 })
		stop()
	}
	for _, a := range l.said()[3:] {
		if reason := map[string]string{"goes": "rule_removed", "changes": "rule_changed"}[a.Rule]; reason == "" || a.State != "cleared" || a.ClearedReason != reason {
			t.Errorf("cleared: %+v", a)
		}
	}
	s, _ = l.start(cfg)
	l.passed(s, l.Commit(plantA, l.message(2, []string{"a.x"}, row{now - 4000, []any{10}})))
	streamtest.Eventually(t, "the changed rule fires anew", func() bool { return len(l.said()) == 6 })
	if last := l.said()[5]; last.Rule != "changes" || last.SinceMs != now-4000 {
		t.Errorf("last is %+v", last)
	}
}

// TestClocks has gateways whose clocks are wrong, and recorded readings.
func TestClocks(t *testing.T) {
	l := newLab(t)
	cfg := Config{Dir: t.TempDir(), CommitEvery: 20 * time.Millisecond, Rules: rulesIn(t, "rules: [{name: hot, when: a.x > 1}, {name: wet, when: b.y > 1}]")}
	s, _ := l.start(cfg)
	now := time.Now().UnixMilli()
	year := int64(365 * 24 * 3600 * 1000)
	// A reading from the future by a clock that is right at sending poisons nothing.
	l.Commit(plantA, l.message(1, []string{"a.x"}, row{now + year, []any{5}}))
	seq := l.Commit(plantA, l.message(2, []string{"a.x"}, row{now, []any{0}}))
	// A recording of long ago beside them has its own time.
	rec := l.message(3, []string{"b.y"}, row{now - year, []any{5}})
	rec.Clock = protocol.ClockRecorded
	seq = max(seq, l.Commit(plantA, rec))
	// A gateway in 1970 fires, at a time that is about now.
	l.SentMs = 5000
	seq = max(seq, l.Commit(plantB, l.message(1, []string{"a.x"}, row{4000, []any{5}})))
	l.passed(s, seq)
	got := ask[contract.AlertsResult](l, contract.ReqAlerts, contract.AlertsQuery{})
	if d := describe(got.Alerts); d != "hot gw-1 firing, wet gw-1 firing" {
		t.Fatalf("alerts %s", d)
	}
	if a := got.Alerts[0]; a.Site != "mill" || a.FiredMs < now-60_000 || a.FiredMs > now+60_000 {
		t.Errorf("1970: %+v", a)
	}
	if a := got.Alerts[1]; a.FiredMs != now-year {
		t.Errorf("recorded: %+v", a)
	}
}
