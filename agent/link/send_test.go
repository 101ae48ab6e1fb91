package link

import "testing"

func TestBundlesComeToTheTargetSize(t *testing.T) {
	for _, c := range []struct{ raw, payload, want int }{
		{128 << 10, targetPayload, 128 << 10},
		{maxRaw, targetPayload, maxRaw}, // the product is over what an int of 32 bits holds
		{maxRaw, targetPayload * 8 / 5, maxRaw * 5 / 8},
		{maxRaw / 2, 1000, maxRaw},
		{64 << 10, 1000, 128 << 10},
		{maxRaw, 100 * targetPayload, maxRaw / 2},
		{20 << 10, 100 * targetPayload, 16 << 10},
	} {
		if got := nextRaw(c.raw, c.payload); got != c.want {
			t.Errorf("after %d made %d: %d, want %d", c.raw, c.payload, got, c.want)
		}
	}
}
