package drivertest

import (
	"strings"
	"testing"
	"time"
)

func TestLeakedFindsOnlyWhatTheSensorStarted(t *testing.T) {
	mine, other := newOwner(), newOwner()
	stop := make(chan struct{})
	mine.do(t.Context(), func() { go func() { go lingering(stop) }() })
	other.do(t.Context(), func() {})
	if got := mine.leaked(50 * time.Millisecond); !strings.Contains(got, "lingering") {
		t.Errorf("a goroutine that lingers was not found: %q", got)
	}
	if got := other.leaked(0); got != "" {
		t.Errorf("found goroutines of somebody else: %s", got)
	}
	close(stop)
	if got := mine.leaked(soon); got != "" {
		t.Errorf("still found: %s", got)
	}
}

func lingering(stop <-chan struct{}) { <-stop }
