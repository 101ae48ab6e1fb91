package gateway

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/negotiation"

	"tidemark/cloud/contract"
)

// The headers of an answer with readings: CSV has no other place for them.
const (
	headerAsOf          = "Tidemark-As-Of"
	headerLag           = "Tidemark-Lag"
	headerThrough       = "Tidemark-Through"
	headerMissingReason = "Tidemark-Missing-Reason"
	headerMissingText   = "Tidemark-Missing-Text"
	headerNext          = "Tidemark-Next"
)

func readingsHeaders() map[string]*huma.Param {
	text := func(doc string) *huma.Param {
		return &huma.Param{Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return map[string]*huma.Param{
		headerAsOf:          text("as_of, RFC 3339"),
		headerLag:           text("lag, in seconds"),
		headerThrough:       text("through"),
		headerMissingReason: text("missing_reason"),
		headerMissingText:   text("missing_text"),
		headerNext:          text("next: the cursor of the next page"),
		"Link":              text("The address of the next page, with rel=\"next\" (RFC 8288)"),
	}
}

func setReadingsHeaders(c huma.Context, in *readingsInput, r contract.ReadingsResult) {
	f := freshnessFrom(r.Freshness)
	set := func(name, value string) {
		if value != "" {
			c.SetHeader(name, value)
		}
	}
	set(headerAsOf, f.AsOf)
	set(headerLag, strconv.FormatFloat(f.Lag, 'f', 3, 64))
	set(headerThrough, strconv.FormatUint(f.Through, 10))
	set(headerMissingReason, f.MissingReason)
	set(headerMissingText, f.MissingText)
	set(headerNext, r.Next)
	set("Vary", "Accept")
	if r.Next != "" {
		q := in.url.Query()
		q.Set("cursor", r.Next)
		set("Link", "<"+in.url.Path+"?"+q.Encode()+`>; rel="next"`)
	}
}

func (in *readingsInput) wantsCSV() bool {
	if in.Format != "" {
		return in.Format == "csv"
	}
	return negotiation.SelectQValueFast(in.Accept, []string{"application/json", "text/csv"}) == "text/csv"
}

// writeCSV writes a page as RFC 4180, lines ending in CRLF. A value that is
// missing because its quality is bad is an empty field.
func writeCSV(w io.Writer, rolled bool, r contract.ReadingsResult) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if rolled {
		out.Write([]string{"site", "gateway", "point", "time", "time_ms", "count", "bad", "min", "max", "mean", "first", "last"})
	} else {
		out.Write([]string{"site", "gateway", "point", "time", "time_ms", "value", "quality", "reason"})
	}
	for _, x := range r.Readings {
		out.Write([]string{x.Site, x.Gateway, x.Point, formatMs(x.TimeMs), strconv.FormatInt(x.TimeMs, 10), formatValue(x.Value), x.Quality, x.Reason})
	}
	for _, x := range r.Rollups {
		row := []string{x.Site, x.Gateway, x.Point, formatMs(x.TimeMs), strconv.FormatInt(x.TimeMs, 10), strconv.FormatInt(x.Count, 10), strconv.FormatInt(x.Bad, 10)}
		for _, v := range []float64{x.Min, x.Max, x.Mean, x.First, x.Last} {
			if x.Count == 0 { // nothing good in the interval: there is no value, least of all 0
				row = append(row, "")
			} else {
				row = append(row, strconv.FormatFloat(v, 'g', -1, 64))
			}
		}
		out.Write(row)
	}
	out.Flush()
	return out.Error()
}

// formatValue writes a value without losing a digit.
func formatValue(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v) // json.Number, bool or string
}
