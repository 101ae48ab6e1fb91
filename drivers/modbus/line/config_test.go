package line

import (
	"testing"
	"time"
)

func TestTurnaround(t *testing.T) {
	for baud, want := range map[int]time.Duration{
		1200: 32083333, 9600: 4010416, 19200: 2005207, 38400: 1750000, 115200: 1750000,
	} {
		if got := (Config{Baud: baud}).silence(); got.Round(time.Microsecond) != want.Round(time.Microsecond) {
			t.Errorf("%d baud: %v, want %v", baud, got, want)
		}
	}
	none := time.Duration(0)
	if got := (Config{Baud: 9600, Turnaround: &none}).silence(); got != 0 {
		t.Errorf("no turnaround: %v", got)
	}
	if got := (Config{TCP: "h:1"}).silence(); got != 0 {
		t.Errorf("TCP: %v", got)
	}
}
