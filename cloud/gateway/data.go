package gateway

import (
	"context"
	"net/http"
	"net/url"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"tidemark/cloud/ask"
	"tidemark/cloud/contract"
)

type Freshness struct {
	AsOf          string  `json:"as_of,omitempty" format:"date-time" doc:"Commit time of the newest bundle that the answer includes; absent if there is none"`
	AsOfMs        int64   `json:"as_of_ms" doc:"The same, in milliseconds since the Unix epoch; 0 if there is none"`
	Lag           float64 `json:"lag" doc:"How long the oldest bundle that the answer does not yet include has been waiting, in seconds; 0: nothing waits"`
	LagMs         int64   `json:"lag_ms" doc:"The same, in milliseconds"`
	Through       uint64  `json:"through" doc:"Position in the stream that the answer includes"`
	MissingReason string  `json:"missing_reason,omitempty" doc:"Why there is nothing, or less than was asked for: no_such_site, no_such_point, none_in_range, before_retention, lagging"`
	MissingText   string  `json:"missing_text,omitempty" doc:"The same, in a sentence for a person"`
}

func freshnessFrom(f contract.Freshness) Freshness {
	out := Freshness{AsOfMs: f.AsOfMs, Lag: float64(f.LagMs) / 1000, LagMs: f.LagMs, Through: f.Through, MissingReason: f.MissingReason, MissingText: f.MissingText}
	if f.AsOfMs != 0 {
		out.AsOf = formatMs(f.AsOfMs)
	}
	return out
}

type readingsInput struct {
	Site    string   `query:"site" required:"true" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" doc:"The site" example:"busan-plant-2"`
	Gateway string   `query:"gateway" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" doc:"Only this gateway"`
	Points  []string `query:"points" maxItems:"200" doc:"Only these points, as device.point, separated by commas. Default: all" example:"boiler.flow_temp"`
	Span
	Rollup string `query:"rollup" enum:"1m,1h" doc:"Roll-ups over one minute or one hour instead of readings"`
	Limit  int    `query:"limit" minimum:"1" maximum:"20000" default:"1000" doc:"How many at most"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next of the page before"`
	Format string `query:"format" enum:"json,csv" doc:"Overrides Accept"`
	Accept string `header:"Accept" doc:"text/csv for CSV"`

	url url.URL
}

// Resolve keeps the address, from which that of the next page is made.
func (in *readingsInput) Resolve(ctx huma.Context) []error {
	in.url = ctx.URL()
	return in.Span.Resolve(ctx)
}

type readingsBody struct {
	Readings []contract.Reading `json:"readings,omitempty" doc:"Ordered by series, then time; absent with a rollup"`
	Rollups  []contract.Rollup  `json:"rollups,omitempty" doc:"Ordered by series, then time; with a rollup only"`
	Next     string             `json:"next,omitempty" doc:"Give it as cursor for the next page; absent on the last"`
	Freshness
}

type countInput struct {
	GatewayFilter
	Span
}

type countBody struct {
	Readings int64 `json:"readings" doc:"How many are stored"`
	Good     int64 `json:"good" doc:"How many of them have quality good or uncertain"`
	Bad      int64 `json:"bad" doc:"How many of them have quality bad"`
	Freshness
}

type seriesInput struct {
	GatewayFilter
	Limit int `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"How many at most"`
}

type seriesBody struct {
	Series []contract.Series `json:"series" nullable:"false"`
	Freshness
}

func (g *Gateway) dataAPI(api huma.API) {
	get(api, huma.Operation{OperationID: "list-series", Path: "/api/v1/series", Tags: []string{"data"}, Summary: "List the series with their newest reading"}, g.series)
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[readingsBody](), true, "")
	get(api, huma.Operation{OperationID: "get-readings", Path: "/api/v1/readings", Tags: []string{"data"}, Summary: "Read readings or roll-ups",
		Description: "As JSON, or as CSV (RFC 4180) with Accept: text/csv or format=csv. CSV says as_of, lag, missing_reason and the next page in the headers.",
		Responses: map[string]*huma.Response{"200": {Description: "OK", Headers: readingsHeaders(), Content: map[string]*huma.MediaType{
			"application/json": {Schema: schema}, "text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}}}},
	}, g.readings)
	get(api, huma.Operation{OperationID: "count-readings", Path: "/api/v1/readings/count", Tags: []string{"data"}, Summary: "Count the readings that are stored"}, g.count)
	g.liveAPI(api)
}

func (g *Gateway) series(ctx context.Context, in *seriesInput) (*answer[seriesBody], error) {
	r, err := ask.Do[contract.SeriesResult](ctx, g.conn, contract.ReqSeries, contract.SeriesQuery{Site: in.Site, Gateway: in.Gateway, Limit: in.Limit})
	return &answer[seriesBody]{seriesBody{list(r.Series), freshnessFrom(r.Freshness)}}, err
}

func (g *Gateway) count(ctx context.Context, in *countInput) (*answer[countBody], error) {
	r, err := ask.Do[contract.CountResult](ctx, g.conn, contract.ReqCount, contract.CountQuery{Site: in.Site, Gateway: in.Gateway, FromMs: in.fromMs, ToMs: in.toMs})
	return &answer[countBody]{countBody{r.Readings, r.Good, r.Bad, freshnessFrom(r.Freshness)}}, err
}

func (g *Gateway) readings(ctx context.Context, in *readingsInput) (*huma.StreamResponse, error) {
	r, err := ask.Do[contract.ReadingsResult](ctx, g.conn, contract.ReqReadings, contract.ReadingsQuery{
		Site: in.Site, Gateway: in.Gateway, Points: in.Points, FromMs: in.fromMs, ToMs: in.toMs, Rollup: in.Rollup, Limit: in.Limit, Cursor: in.Cursor})
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		setReadingsHeaders(c, in, r)
		var err error
		if in.wantsCSV() {
			c.SetHeader("Content-Type", "text/csv; charset=utf-8; header=present")
			c.SetStatus(http.StatusOK)
			err = writeCSV(c.BodyWriter(), in.Rollup != "", r)
		} else {
			body := readingsBody{r.Readings, r.Rollups, r.Next, freshnessFrom(r.Freshness)}
			c.SetHeader("Content-Type", "application/json")
			c.SetStatus(http.StatusOK)
			err = huma.DefaultJSONFormat.Marshal(c.BodyWriter(), body)
		}
		if err == nil {
			g.served.Note(r.Through)
		}
	}}, nil
}
