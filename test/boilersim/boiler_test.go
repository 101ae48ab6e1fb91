package main

import (
	"math"
	"testing"
)

// An hour of boiler room stays believable, and has something to see in it.
func TestBoilerIsBelievable(t *testing.T) {
	b := newBoiler(1)
	gas, starts := b.gas, b.starts
	seen := map[int]bool{}
	low, high := math.Inf(1), math.Inf(-1)
	for i := range 36000 {
		b.step(0.1)
		seen[b.state] = true
		low, high = min(low, b.water), max(high, b.water)
		if i%3000 == 0 {
			t.Logf("%5.0f s: state %d burner %3.0f %% water %5.1f back %5.1f set %5.1f outside %4.1f flue %5.1f bar %.2f flow %.1f gas %.3f",
				b.clock, b.state, b.burner, b.water, b.back, b.set, b.outside, b.flue, b.bar, b.flow, b.gas-gas)
		}
		switch {
		case b.water < 30 || b.water > 95, b.back >= b.water || b.back < 15,
			b.flue < b.water-10 || b.flue > 220, b.bar < 1 || b.bar > 2.5,
			b.burner < 0 || b.burner > 100, b.flow < 10 || b.flow > 40:
			t.Fatalf("after %.0f s: %+v", b.clock, *b)
		}
	}
	if len(seen) != 4 {
		t.Errorf("only the states %v were seen", seen)
	}
	if b.gas-gas < 1 || b.gas-gas > 7 {
		t.Errorf("it burnt %.2f m3 in an hour; 60 kW are 6 m3", b.gas-gas)
	}
	if n := b.starts - starts; n < 3 || n > 60 {
		t.Errorf("the burner started %d times in an hour", n)
	}
	if high-low < 5 {
		t.Errorf("the water stayed between %.1f and %.1f", low, high)
	}
}
