package cli

import (
	"bytes"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 850 * time.Millisecond: "850 ms", 12 * time.Second: "12 s", 3 * time.Minute: "3 min", 200 * time.Second: "3 min 20 s",
		59*time.Minute + 59*time.Second: "59 min", 80 * time.Minute: "1 h 20 min", 52 * time.Hour: "2 d 4 h", -time.Second: "-1 s",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration %v reads %q, want %q", d, got, want)
		}
	}
	if got := millis(1 << 63); got != "very long" {
		t.Errorf("a time of no sense reads %q", got)
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 43 << 10: "43 KiB", 1<<20 - 1: "1 MiB",
		512 << 20: "512 MiB", 3 << 40: "3 TiB", 1 << 63: "8388608 TiB"} {
		if got := size(n); got != want {
			t.Errorf("size %d reads %q, want %q", n, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count %d reads %q, want %q", n, got, want)
		}
	}
	for us, want := range map[uint64]string{0: "0.0 ms", 1234: "1.2 ms", 20_000: "20 ms", 90_000_000: "1 min 30 s"} {
		if got := micros(us); got != want {
			t.Errorf("%d µs read %q, want %q", us, got, want)
		}
	}
}

func TestSizesAreRead(t *testing.T) {
	for text, want := range map[string]int64{"67108864": 64 << 20, "64MiB": 64 << 20, "64 MiB": 64 << 20, "1GB": 1e9, "0": 0, "5kB": 5000, "7B": 7} {
		var s sizeFlag
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%q is %d (%v), want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "lots", "-1", "1.5GiB", "MiB", "99999999999GiB", "9223372036854775807"} {
		var s sizeFlag
		if err := s.Set(text); err == nil {
			t.Errorf("%q is taken as %d", text, s)
		}
	}
}

func TestColoursOnlyOnATerminal(t *testing.T) {
	if paintFor(new(bytes.Buffer)) {
		t.Error("a buffer is taken for a terminal")
	}
	if got := paint(true).good("up"); got != "\x1b[32mup\x1b[0m" {
		t.Errorf("up is painted %q", got)
	}
	if got := paint(false).bad("down"); got != "down" {
		t.Errorf("without colours down is %q", got)
	}
}

func TestTableAligns(t *testing.T) {
	var b bytes.Buffer
	tab := table{head: []string{"bus", ">points", "fault"}}
	tab.add("rs485-1", "5", "–")
	tab.add("x", "1,000", "timeout")
	tab.print(&b)
	want := "bus      points  fault\nrs485-1       5  –\nx         1,000  timeout\n"
	if b.String() != want {
		t.Errorf("the table is\n%swant\n%s", b.String(), want)
	}
}
