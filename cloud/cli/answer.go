package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cloud/plain"
)

// answer asks for a path. With --json the answer is printed as it is, and
// done; else it is decoded into v.
func (a *app) answer(c *cobra.Command, path string, q url.Values, v any) (done bool, err error) {
	data, err := a.client.get(c.Context(), path, q, v)
	if err != nil {
		return true, err
	}
	if a.json {
		_, err = a.env.Stdout.Write(data)
		return true, err
	}
	return false, nil
}

func (a *app) print(t *table) error { return t.write(a.env.Stdout, a.color) }

func (a *app) say(sentence string) error {
	_, err := fmt.Fprintln(a.env.Stdout, sentence)
	return err
}

// hint goes to standard error: it is about the answer, not part of it.
func (a *app) hint(format string, args ...any) { fmt.Fprintf(a.env.Stderr, format+"\n", args...) }

func (a *app) ago(ms int64) string { return plain.Ago(a.env.Now().UnixMilli(), ms) }

func utc(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// freshness is how far an answer about readings reaches.
type freshness struct {
	AsOfMs        int64  `json:"as_of_ms"`
	LagMs         int64  `json:"lag_ms"`
	MissingReason string `json:"missing_reason"`
	MissingText   string `json:"missing_text"`
}

func (a *app) tell(f freshness) {
	lag := "none"
	if f.LagMs > 0 {
		lag = plain.Span(f.LagMs)
	}
	asOf := "nothing stored yet"
	if f.AsOfMs > 0 {
		asOf = utc(f.AsOfMs)
	}
	a.hint("as_of %s, lag %s", asOf, lag)
	if f.MissingReason != "" {
		a.hint("missing_reason %s: %s", f.MissingReason, plain.Sentence(f.MissingText))
	}
}

// count writes a number so that it can be copied from any terminal.
func count(v any) string { return strings.ReplaceAll(plain.Count(v), "\u202f", ",") }

func text(v any) string {
	switch x := v.(type) {
	case nil:
		return "-"
	case json.Number:
		return x.String()
	}
	return fmt.Sprint(v)
}
