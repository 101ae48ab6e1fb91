package console

import (
	"html/template"
	"strings"
	"time"

	"tidemark/cloud/plain"
)

// words are what the templates say numbers and times with.
func (c *Console) words() template.FuncMap {
	return template.FuncMap{
		"asset":    func(name string) string { return "/static/" + name + "?v=" + c.hash },
		"count":    plain.Count,
		"bytes":    func(n any) string { return whole(plain.Bytes(n)) },
		"span":     func(ms any) string { return whole(plain.Span(ms)) },
		"spanUs":   func(us int64) string { return whole(plain.SpanUs(us)) },
		"ago":      func(now, ms int64) string { return whole(plain.Ago(now, ms)) },
		"utc":      func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 UTC") },
		"iso":      func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") },
		"clock":    func(ms int64) string { return time.UnixMilli(ms).UTC().Format("15:04:05") },
		"clockUs":  func(us int64) string { return time.UnixMicro(us).UTC().Format("15:04:05.000") },
		"value":    plain.Value,
		"unit":     plain.Unit,
		"sentence": plain.Sentence,
		"short":    plain.Short,
		"pair":     func(now int64, v any) moment { return moment{now, v} },
		"minus":    func(a, b int64) int64 { return a - b },
	}
}

// whole keeps a number and its unit on one line.
func whole(s string) string { return strings.ReplaceAll(s, " ", "\u00a0") }

// moment hands a template a value together with the time of its page.
type moment struct {
	Now int64
	V   any
}
