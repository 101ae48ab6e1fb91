package data

import (
	"fmt"
	"math"
	"testing"
	"time"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// Every kind of value comes back as it came, from memory and from the files,
// with its quality.
func TestEveryReadingComesBack(t *testing.T) {
	st := newStation(t, Config{FlushInterval: time.Hour})
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "d.float"}, protocol.Point{Name: "d.int", Kind: protocol.Int, Unit: "1"},
		protocol.Point{Name: "d.on", Kind: protocol.Bool}, protocol.Point{Name: "d.text", Kind: protocol.Text})
	now := time.Now().UnixMilli()
	scan := func(v float64, i int64, b bool, s string) []protocol.Reading {
		return []protocol.Reading{{Value: protocol.FloatValue(v)}, {Value: protocol.IntValue(i)}, {Value: protocol.BoolValue(b)}, {Value: protocol.TextValue(s)}}
	}
	bad := []protocol.Reading{{Quality: protocol.Bad, Reason: "timeout"}, {Quality: protocol.NotRead}, {Value: protocol.BoolValue(true), Quality: protocol.Uncertain, Reason: "stale"}, {Quality: protocol.Bad, Reason: "crc"}}
	publish(t, st.bus.JetStream(), gw, f.message([]int64{now, now - 5000, now + 1000}, scan(21.4, 1<<60+1, true, "öl"), scan(math.NaN(), -1, false, ""), bad))
	last := publish(t, st.bus.JetStream(), gw, f.message([]int64{now - 1000}, scan(math.Inf(-1), 5, true, "x")))
	check := func() {
		t.Helper()
		c := st.reach(last)
		if c.Readings != 15 || c.Bad != 2 || c.Good != 13 {
			t.Fatalf("count: %+v", c)
		}
		r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant"})
		want := []string{
			fmt.Sprint("d.float ", now-5000, " NaN good "), fmt.Sprint("d.float ", now-1000, " -Infinity good "), fmt.Sprint("d.float ", now, " 21.4 good "), fmt.Sprint("d.float ", now+1000, " <nil> bad timeout"),
			fmt.Sprint("d.int ", now-5000, " -1 good "), fmt.Sprint("d.int ", now-1000, " 5 good "), fmt.Sprint("d.int ", now, " 1.152921504606847e+18 good "),
			fmt.Sprint("d.on ", now-5000, " false good "), fmt.Sprint("d.on ", now-1000, " true good "), fmt.Sprint("d.on ", now, " true good "), fmt.Sprint("d.on ", now+1000, " true uncertain stale"),
			fmt.Sprint("d.text ", now-5000, "  good "), fmt.Sprint("d.text ", now-1000, " x good "), fmt.Sprint("d.text ", now, " öl good "), fmt.Sprint("d.text ", now+1000, " <nil> bad crc"),
		}
		if len(r.Readings) != len(want) || r.Next != "" || r.Problem != nil {
			t.Fatalf("%d readings, not %d; %+v", len(r.Readings), len(want), r)
		}
		for i, got := range r.Readings {
			if s := fmt.Sprintf("%s %d %v %s %s", got.Point, got.TimeMs, got.Value, got.Quality, got.Reason); s != want[i] {
				t.Errorf("reading %d: %q, not %q", i, s, want[i])
			}
		}
		n := ask[contract.CountResult](t, st, contract.ReqCount, contract.CountQuery{Site: "plant", FromMs: now - 1000, ToMs: now + 1})
		if n.Readings != 8 || n.Bad != 0 {
			t.Errorf("count in a range: %+v", n)
		}
		s := ask[contract.SeriesResult](t, st, contract.ReqSeries, contract.SeriesQuery{Site: "plant"})
		if len(s.Series) != 4 || s.Series[1].Kind != "int" || s.Series[1].Unit != "1" || s.Series[0].Newest == nil || s.Series[0].Newest.TimeMs != now+1000 || s.Series[1].Newest.TimeMs != now {
			t.Errorf("series: %+v", s)
		}
	}
	check() // in memory
	st.stop()
	st.start()
	check() // from the files
}

// Pages taken one after the other give every reading once, whatever their size.
func TestPagesGiveEveryReadingOnce(t *testing.T) {
	st := newStation(t, Config{FlushInterval: time.Millisecond})
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.a"}, protocol.Point{Name: "a.b"})
	base := time.Now().Add(-3 * time.Hour).UnixMilli()
	var last uint64
	for i := range 30 {
		at := base + int64(i%7)*1_000_000 // several readings of one time, several hours, out of order
		last = publish(t, st.bus.JetStream(), gw, f.message([]int64{at, at}, append(one(float64(2*i)), one(-1)...), append(one(float64(2*i+1)), one(-2)...)))
	}
	st.reach(last)
	for _, limit := range []int{1, 7, 1000} {
		seen := map[string]int{}
		q := contract.ReadingsQuery{Site: "plant", Limit: limit}
		prev := ""
		for {
			r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, q)
			if r.Problem != nil || len(r.Readings) > limit {
				t.Fatalf("%+v", r)
			}
			for _, x := range r.Readings {
				key := fmt.Sprintf("%s %d", x.Point, x.TimeMs)
				if key < prev {
					t.Fatalf("%s after %s", key, prev)
				}
				prev = key
				seen[fmt.Sprint(x.Point, x.Value)]++
			}
			if q.Cursor = r.Next; r.Next == "" {
				break
			}
		}
		if seen["a.b-1"] != 30 || seen["a.b-2"] != 30 || len(seen) != 62 {
			t.Fatalf("limit %d: %v", limit, seen)
		}
		for i := range 60 {
			if seen[fmt.Sprint("a.a", float64(i))] != 1 {
				t.Fatalf("limit %d: value %d came %d times", limit, i, seen[fmt.Sprint("a.a", float64(i))])
			}
		}
	}
}

func TestNothingIsExplained(t *testing.T) {
	st := newStation(t, Config{})
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.a"})
	last := publish(t, st.bus.JetStream(), gw, f.message([]int64{time.Now().UnixMilli()}, one(1)))
	st.reach(last)
	for _, c := range []struct {
		q    contract.ReadingsQuery
		want string
	}{
		{contract.ReadingsQuery{Site: "nowhere"}, "no_such_site"},
		{contract.ReadingsQuery{Site: "plant", Points: []string{"a.b"}}, "no_such_point"},
		{contract.ReadingsQuery{Site: "plant", FromMs: 1, ToMs: 2}, "before_retention"},
		{contract.ReadingsQuery{Site: "plant", FromMs: time.Now().UnixMilli() - 9000, ToMs: time.Now().UnixMilli() - 8000}, "none_in_range"},
		{contract.ReadingsQuery{Site: "plant"}, ""},
	} {
		r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, c.q)
		if r.Problem != nil || r.MissingReason != c.want || r.Through != last || r.AsOfMs == 0 || (c.want != "") != (r.MissingText != "") {
			t.Errorf("%+v: %+v", c.q, r)
		}
	}
	for _, c := range []struct {
		q    any
		want string
	}{
		{contract.ReadingsQuery{}, "no_site"}, {contract.ReadingsQuery{Site: "A B"}, "bad_site"}, {contract.ReadingsQuery{Site: "plant", Limit: 20_001}, "bad_limit"},
		{contract.ReadingsQuery{Site: "plant", FromMs: 5, ToMs: 4}, "bad_range"}, {contract.ReadingsQuery{Site: "plant", Rollup: "2m"}, "bad_rollup"},
		{contract.ReadingsQuery{Site: "plant", Cursor: "!"}, "bad_cursor"}, {contract.ReadingsQuery{Site: "plant", Points: []string{"x"}}, "bad_point"}, {"text", "malformed"},
	} {
		r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, c.q)
		if r.Problem == nil || r.Problem.Status != 400 || r.Problem.Reason != c.want || r.Problem.Text == "" {
			t.Errorf("%+v: %+v", c.q, r.Problem)
		}
	}
}
