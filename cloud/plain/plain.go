package plain

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

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

// Count writes an integer with a thin space between thousands.
func Count(v any) string {
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

// Bytes writes a size in binary units.
func Bytes(v any) string {
	n := float64(toInt(v))
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 1024 {
			return strings.TrimSuffix(strconv.FormatFloat(n, 'f', 1, 64), ".0") + " " + unit
		}
		n /= 1024
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + " TiB"
}

// Span writes a duration in milliseconds with the two units that matter.
func Span(v any) string {
	ms := toInt(v)
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

// SpanUs writes a duration in microseconds.
func SpanUs(us int64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%d µs", us)
	case us < 100_000:
		return fmt.Sprintf("%.1f ms", float64(us)/1000)
	}
	return Span(us / 1000)
}

// Ago says how long before now a moment was.
func Ago(now, ms int64) string {
	switch d := now - ms; {
	case ms == 0:
		return "never"
	case d < -1000:
		return "in " + Span(-d)
	case d < 1000:
		return "now"
	case d < 10_000:
		return fmt.Sprintf("%d s ago", d/1000)
	default:
		return Span(d) + " ago"
	}
}

// Value writes a reading's value without losing a digit.
func Value(v any) string {
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

// Unit writes the symbol of a unit.
func Unit(code string) string {
	if u, ok := units[code]; ok {
		return u
	}
	return code
}

// Sentence makes s begin with a capital letter and end with a full stop.
func Sentence(s string) string {
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

// Short keeps the head of an id that only machines read in full.
func Short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
