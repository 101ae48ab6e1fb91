package gateway

import (
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Parameters that several operations share.

// SiteFilter and GatewayFilter are exported, as is what else is embedded here,
// because huma reads exported fields only.
type SiteFilter struct {
	Site string `query:"site" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" doc:"Only this site" example:"busan-plant-2"`
}

type GatewayFilter struct {
	SiteFilter
	Gateway string `query:"gateway" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" doc:"Only this gateway" example:"boiler-room"`
}

type gatewayPath struct {
	Site    string `path:"site" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" doc:"The site" example:"busan-plant-2"`
	Gateway string `path:"gateway" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" doc:"The gateway" example:"boiler-room"`
}

// Span is a span of time; huma calls Resolve once both are read.
type Span struct {
	From string `query:"from" maxLength:"40" doc:"First moment, as RFC 3339 or milliseconds since the Unix epoch. Default: no bound" example:"2026-11-21T00:00:00Z"`
	To   string `query:"to" maxLength:"40" doc:"First moment that is no longer included, in the same forms. Default: no bound" example:"1795219200000"`

	fromMs, toMs int64
}

// Resolve reads both moments.
func (s *Span) Resolve(huma.Context) []error {
	var errs []error
	for _, p := range []struct {
		name, text string
		into       *int64
	}{{"from", s.From, &s.fromMs}, {"to", s.To, &s.toMs}} {
		ms, ok := parseMoment(p.text)
		if !ok {
			errs = append(errs, &huma.ErrorDetail{Location: "query." + p.name, Value: p.text,
				Message: "expected a time as RFC 3339, such as 2026-11-21T08:30:00Z, or as milliseconds since the Unix epoch, such as 1795249800000"})
		}
		*p.into = ms
	}
	if len(errs) == 0 && s.toMs != 0 && s.toMs <= s.fromMs {
		errs = append(errs, &huma.ErrorDetail{Location: "query.to", Value: s.To, Message: "expected a time after from"})
	}
	return errs
}

// parseMoment returns milliseconds since the Unix epoch; 0 for an empty text.
func parseMoment(text string) (int64, bool) {
	if text == "" {
		return 0, true
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, true
	}
	// A + that was not escaped arrives as a space.
	t, err := time.Parse(time.RFC3339Nano, strings.Replace(text, " ", "+", 1))
	return t.UnixMilli(), err == nil
}

// formatMs writes milliseconds since the Unix epoch as RFC 3339 in UTC.
func formatMs(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
