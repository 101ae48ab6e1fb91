package plain

import (
	"encoding/json"
	"testing"
)

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Count(uint64(1234567)), "1\u202f234\u202f567"}, {Count(999), "999"}, {Count(int64(-1000)), "−1\u202f000"}, {Count(0), "0"},
		{Bytes(0), "0 B"}, {Bytes(1023), "1023 B"}, {Bytes(1536), "1.5 KiB"}, {Bytes(uint64(256 << 20)), "256 MiB"}, {Bytes(int64(3) << 40), "3.0 TiB"},
		{Span(-5), "0 s"}, {Span(999), "999 ms"}, {Span(2300), "2.3 s"}, {Span(59_999), "59 s"}, {Span(60_000), "1 min 0 s"}, {Span(3_723_000), "1 h 2 min"}, {Span(uint64(172_800_000)), "2 d 0 h"},
		{SpanUs(7), "7 µs"}, {SpanUs(6_800), "6.8 ms"}, {SpanUs(212_000), "212 ms"}, {SpanUs(1_000_000), "1.0 s"},
		{Ago(10_000, 0), "never"}, {Ago(10_000, 9_500), "now"}, {Ago(10_000, 7_000), "3 s ago"}, {Ago(100_000, 40_000), "1 min 0 s ago"}, {Ago(1_000, 6_000), "in 5.0 s"},
		{Value(nil), "—"}, {Value(true), "on"}, {Value(json.Number("-9007199254740993")), "−9007199254740993"}, {Value("NaN"), "NaN"},
		{Unit("Cel"), "°C"}, {Unit("kW"), "kW"}, {Unit("/"), ""},
		{Sentence("the link is down"), "The link is down."}, {Sentence(" Why?"), "Why?"}, {Sentence(""), ""}, {Sentence("über"), "Über."},
		{Short("abcdef", 3), "abc…"}, {Short("abc", 3), "abc"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
