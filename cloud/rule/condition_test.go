package rule

import (
	"strings"
	"testing"

	"tidemark/protocol"
)

func TestCondition(t *testing.T) {
	values := map[string]struct {
		v protocol.Value
		q protocol.Quality
	}{
		"boiler.temp_c":   {protocol.FloatValue(86.5), protocol.Good},
		"boiler.state":    {protocol.IntValue(3), protocol.Good},
		"boiler.on":       {protocol.BoolValue(true), protocol.Uncertain},
		"boiler.mode":     {protocol.TextValue("auto"), protocol.Good},
		"meter-main.l1_v": {protocol.FloatValue(230), protocol.Good},
		"boiler.long":     {protocol.TextValue(strings.Repeat("a", protocol.MaxText)), protocol.Good},
		"boiler.broken":   {protocol.Value{}, protocol.Bad},
	}
	look := lookup(func(name string) (any, bool) {
		p, isQuality := strings.CutPrefix(name, qualityPrefix)
		r, ok := values[p]
		if !ok {
			r.q = protocol.NotRead
		}
		if isQuality {
			return celQuality(p, r.q), true
		}
		return celValue(p, r.v, r.q), true
	})
	for _, c := range []struct {
		text   string
		want   tri
		points string
		fails  string
	}{
		{"boiler.temp_c > 85 && boiler.state == 3", yes, "boiler.state boiler.temp_c", ""},
		{"boiler.temp_c > 85.5 && boiler.state == 3.0", yes, "boiler.state boiler.temp_c", ""},
		{"boiler.temp_c < 80", no, "boiler.temp_c", ""},
		{`point("meter-main.l1_v") >= 230 && boiler.on`, yes, "boiler.on meter-main.l1_v", ""},
		{`quality("boiler.on") == "uncertain"`, yes, "boiler.on", ""},
		{`quality("boiler.broken") == "bad"`, yes, "boiler.broken", ""},
		{`quality("boiler.nowhere") == "bad"`, unknown, "boiler.nowhere", ""},
		{"boiler.mode in ['auto', 'eco']", yes, "boiler.mode", ""},
		{"boiler.mode.startsWith('au')", yes, "boiler.mode", ""},
		{"boiler.broken > 1", unknown, "boiler.broken", ""},
		{"boiler.nowhere > 1", unknown, "boiler.nowhere", ""},
		{"boiler.broken > 1 || boiler.temp_c > 85", yes, "boiler.broken boiler.temp_c", ""},
		{"boiler.broken > 1 && boiler.temp_c > 99", no, "boiler.broken boiler.temp_c", ""},
		{"!(boiler.broken > 1)", unknown, "boiler.broken", ""},
		{"boiler.on", yes, "boiler.on", ""},
		{"boiler.mode > 3", unknown, "boiler.mode", "no such overload"},
		{"boiler.temp_c + 1 > 2", unknown, "boiler.temp_c", "write 2.0"},
		{"boiler.temp_c", unknown, "boiler.temp_c", "true or false"},
		{"boiler.long.matches('" + strings.Repeat("a*", 1500) + "')", unknown, "boiler.long", "cost"},
	} {
		cond, err := compile(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := strings.Join(cond.points, " "); got != c.points {
			t.Errorf("%s: names %s, want %s", c.text, got, c.points)
		}
		got, err := cond.eval(look)
		if got != c.want || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%.80s: got %d, %v; want %d, %q", c.text, got, err, c.want, c.fails)
		}
	}
}

func TestConditionMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"boiler.temp_c >", "1:16: Syntax error"},
		{"boiler > 3", `1:1: "boiler" is neither a point`},
		{"a.b.c > 3", "1:4: a point has two names"},
		{"a.b > 1 &&\n  c.d(3)", `2:3: "c" is neither`},
		{"1 + 1 == 2", "names no point"},
		{"size(a.b.c) == 1 || x", ".c is one too many"},
		{"a.B > 1", "not the name of a point"},
		{`point("nonsense") > 1`, "1:7: a point is named by a text"},
		{"point(a.b) > 1", "1:8: a point is named by a text"},
		{"a.b + 'x'", ""},
		{"size(a.b)", "it gives a int"},
		{"[a.b].all(x, x > 1)", `"x" is neither`},
		{"a.b > 1 &&\n frob(a.b)", "2:6: undeclared reference"},
		{"{'a': a.b}['a'] > 1", "more than a condition may hold"},
		{strings.Repeat("(", 100) + "a.b" + strings.Repeat(")", 100), "recursion"},
		{"a.b > " + strings.Repeat("1", 5000), "over the limit"},
	} {
		_, err := compile(c.text)
		if c.want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: got %v, want %q", c.text, err, c.want)
		}
	}
}
