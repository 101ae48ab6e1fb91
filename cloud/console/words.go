package console

import (
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// words are what the templates say numbers and times with.
func (c *Console) words() template.FuncMap {
	return template.FuncMap{
		"asset":    func(name string) string { return "/static/" + name + "?v=" + c.hash },
		"count":    grouped,
		"bytes":    bytesText,
		"span":     func(ms any) string { return spanText(toInt(ms)) },
		"spanUs":   func(us int64) string { return spanUsText(us) },
		"ago":      ago,
		"utc":      func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 UTC") },
		"iso":      func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") },
		"clock":    func(ms int64) string { return time.UnixMilli(ms).UTC().Format("15:04:05") },
		"clockUs":  func(us int64) string { return time.UnixMicro(us).UTC().Format("15:04:05.000") },
		"value":    valueText,
		"unit":     unitText,
		"sentence": sentence,
		"short":    short,
		"pair":     func(now int64, v any) moment { return moment{now, v} },
		"minus":    func(a, b int64) int64 { return a - b },
	}
}

// moment hands a template a value together with the time of its page.
type moment struct {
	Now int64
	V   any
}

func toInt(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case uint64:
		return int64(min(n, 1<<62))
	case int:
		return int64(n)
	}
	return 0
}

// grouped writes an integer with a thin space between thousands.
func grouped(v any) string {
	s := strconv.FormatInt(toInt(v), 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return sign + s
}

func bytesText(v any) string {
	n := float64(toInt(v))
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 1024 {
			return strings.TrimSuffix(strconv.FormatFloat(n, 'f', 1, 64), ".0") + " " + unit
		}
		n /= 1024
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + " TiB"
}

// spanText writes a duration with the two units that matter.
func spanText(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", ms)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

func spanUsText(us int64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%d µs", us)
	case us < 100_000:
		return fmt.Sprintf("%.1f ms", float64(us)/1000)
	}
	return spanText(us / 1000)
}

// ago says how long before now a moment was.
func ago(now, ms int64) string {
	switch d := now - ms; {
	case ms == 0:
		return "never"
	case d < -1000:
		return "in " + spanText(-d)
	case d < 1000:
		return "now"
	case d < 10_000:
		return fmt.Sprintf("%d s ago", d/1000)
	default:
		return spanText(d) + " ago"
	}
}

// valueText writes a reading's value without losing a digit.
func valueText(v any) string {
	switch x := v.(type) {
	case nil:
		return "—"
	case bool:
		if x {
			return "on"
		}
		return "off"
	case json.Number:
		return strings.Replace(x.String(), "-", "−", 1)
	}
	return fmt.Sprint(v)
}

// units are those whose symbol differs from its code in RFC 8428.
var units = map[string]string{"Cel": "°C", "Ohm": "Ω", "deg": "°", "%RH": "% RH", "m2": "m²", "m3": "m³", "m/s2": "m/s²", "l/s": "l/s", "m3/s": "m³/s", "/": ""}

func unitText(code string) string {
	if u, ok := units[code]; ok {
		return u
	}
	return code
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	s = string(unicode.ToUpper(r)) + s[n:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}

// short keeps the head of an id that only machines read in full.
func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
