package console

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
	"tidemark/cloud/plain"
)

// ranges are the spans that the data page offers, with the roll-up that keeps
// a chart at a number of points that a screen can show.
var ranges = []timeRange{
	{"15m", "15 min", 15 * time.Minute, ""},
	{"1h", "1 hour", time.Hour, ""},
	{"6h", "6 hours", 6 * time.Hour, "1m"},
	{"24h", "24 hours", 24 * time.Hour, "1m"},
	{"7d", "7 days", 7 * 24 * time.Hour, "1h"},
}

type timeRange struct {
	Key, Text string
	Span      time.Duration
	Rollup    string
}

const (
	maxChart = 20_000 // readings on a chart
	maxRows  = 100    // rows of the table
)

// dataView is the page of one series.
type dataView struct {
	Sites   []string
	Site    string
	Series  []contract.Series // of the site
	Chosen  *contract.Series
	Key     string // gateway/point of the chosen series
	Ranges  []timeRange
	Range   timeRange
	Rollup  string // which was used in the end
	Fresh   contract.Freshness
	Rows    []row // newest first
	Count   int
	Bad     int
	Chart   chart
	Charted bool
	Live    bool
}

// Every says how long an interval of the roll-up is.
func (v dataView) Every() string {
	if v.Rollup == "1h" {
		return "1 hour"
	}
	return "1 min"
}

// row is a line of the table.
type row struct {
	TimeMs  int64
	Value   any
	Quality string
	Reason  string
	Rollup  *contract.Rollup
}

// chart is what the browser draws: columns, as uPlot takes them. A null is a gap.
type chart struct {
	Site    string  `json:"site"`
	Gateway string  `json:"gateway"`
	Point   string  `json:"point"`
	Unit    string  `json:"unit"`
	Kind    string  `json:"kind"`
	FromMs  int64   `json:"from_ms"`
	ToMs    int64   `json:"to_ms"`
	SpanMs  int64   `json:"span_ms"`
	Rollup  string  `json:"rollup"`
	Live    bool    `json:"live"`
	Times   []int64 `json:"times"`
	Values  []any   `json:"values"` // readings, or means
	Min     []any   `json:"min,omitempty"`
	Max     []any   `json:"max,omitempty"`
}

func (c *Console) data(w http.ResponseWriter, r *http.Request) {
	v := dataView{Ranges: ranges, Range: ranges[0]}
	for _, x := range ranges {
		if x.Key == r.URL.Query().Get("range") {
			v.Range = x
		}
	}
	all, err := ask.Do[contract.SeriesResult](r.Context(), c.conn, contract.ReqSeries, contract.SeriesQuery{Limit: 10_000})
	if err == nil {
		v.Fresh = all.Freshness
		v.choose(all.Series, r.URL.Query().Get("site"), r.URL.Query().Get("series"))
	}
	if err == nil && v.Chosen != nil {
		err = c.fill(r, &v)
	}
	status, text := notice(err)
	c.show(w, r, status, page{Name: "data", Title: "Data", Nav: "data", Notice: text, Body: v})
	if err == nil && v.Chosen != nil {
		c.served.Note(v.Fresh.Through)
	}
}

// choose takes the site and series that were asked for, or the first of each.
func (v *dataView) choose(all []contract.Series, wantSite, wantKey string) {
	for _, s := range all {
		v.Sites = append(v.Sites, s.Site)
	}
	slices.Sort(v.Sites)
	v.Sites = slices.Compact(v.Sites)
	if len(v.Sites) == 0 {
		return
	}
	v.Site = v.Sites[0]
	if slices.Contains(v.Sites, wantSite) {
		v.Site = wantSite
	}
	for _, s := range all {
		if s.Site != v.Site {
			continue
		}
		v.Series = append(v.Series, s)
		if key := s.Gateway + "/" + s.Point; v.Chosen == nil && (wantKey == "" && s.Kind == "float") || key == wantKey {
			v.Chosen, v.Key = &s, key
		}
	}
	if v.Chosen == nil {
		v.Chosen, v.Key = &v.Series[0], v.Series[0].Gateway+"/"+v.Series[0].Point
	}
}

// fill reads the series. More readings than a chart can show become roll-ups.
func (c *Console) fill(r *http.Request, v *dataView) error {
	now := time.Now().UnixMilli()
	q := contract.ReadingsQuery{Site: v.Site, Gateway: v.Chosen.Gateway, Points: []string{v.Chosen.Point},
		FromMs: now - v.Range.Span.Milliseconds(), Rollup: v.Range.Rollup, Limit: maxChart}
	if v.Chosen.Kind == "text" {
		q.Rollup = "" // there is no mean of texts
	}
	answer, err := ask.Do[contract.ReadingsResult](r.Context(), c.conn, contract.ReqReadings, q)
	if err == nil && answer.Next != "" && q.Rollup == "" && v.Chosen.Kind != "text" {
		q.Rollup = "1m"
		answer, err = ask.Do[contract.ReadingsResult](r.Context(), c.conn, contract.ReqReadings, q)
	}
	if err != nil {
		return err
	}
	v.Fresh, v.Rollup = answer.Freshness, q.Rollup
	v.Charted = v.Chosen.Kind != "text"
	v.Live = q.Rollup == ""
	v.Chart = chart{Site: v.Site, Gateway: v.Chosen.Gateway, Point: v.Chosen.Point, Unit: plain.Unit(v.Chosen.Unit), Kind: v.Chosen.Kind,
		FromMs: q.FromMs, ToMs: now, SpanMs: v.Range.Span.Milliseconds(), Rollup: q.Rollup, Live: v.Live, Times: []int64{}, Values: []any{}}
	for _, x := range answer.Readings {
		v.add(x)
	}
	for _, x := range answer.Rollups {
		v.addRollup(x)
	}
	slices.Reverse(v.Rows)
	v.Rows = v.Rows[:min(len(v.Rows), maxRows)]
	return nil
}

func (v *dataView) add(x contract.Reading) {
	v.Count++
	if x.Quality == "bad" {
		v.Bad++
	}
	v.Rows = append(v.Rows, row{TimeMs: x.TimeMs, Value: x.Value, Quality: x.Quality, Reason: x.Reason})
	v.Chart.Times = append(v.Chart.Times, x.TimeMs)
	v.Chart.Values = append(v.Chart.Values, plotted(x.Value))
}

func (v *dataView) addRollup(x contract.Rollup) {
	v.Count++
	v.Bad += int(x.Bad)
	v.Rows = append(v.Rows, row{TimeMs: x.TimeMs, Rollup: &x})
	v.Chart.Times = append(v.Chart.Times, x.TimeMs)
	var mean, low, high any
	if x.Count > 0 {
		mean, low, high = x.Mean, x.Min, x.Max
	}
	v.Chart.Values, v.Chart.Min, v.Chart.Max = append(v.Chart.Values, mean), append(v.Chart.Min, low), append(v.Chart.Max, high)
}

// plotted is what of a value a chart can show; the rest is a gap.
func plotted(value any) any {
	switch x := value.(type) {
	case json.Number:
		return x
	case bool:
		if x {
			return 1
		}
		return 0
	}
	return nil // bad, NaN, infinite or text
}
