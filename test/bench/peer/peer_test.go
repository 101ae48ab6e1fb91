//go:build linux

package peer

import (
	"bytes"
	"context"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"tidemark/test/dataset"
)

var full = flag.Bool("full", false, "measure in full, as make bench does, and print the figures")

func TestRunMeasuresEveryFigure(t *testing.T) {
	c := Config{Dir: t.TempDir(), Seed: dataset.DefaultSeed, Readings: 20_000, Backlog: 20_000, Live: 2, Pace: 50 * time.Millisecond}
	if *full {
		c = Default(t.TempDir(), dataset.DefaultSeed)
	}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if want := 100 + c.Live*1100 + c.Readings + c.Backlog; r.Sent != want || r.Lost != 0 || r.Duplicated != 0 {
		t.Errorf("sent %d, lost %d, duplicated %d, want %d, 0, 0", r.Sent, r.Lost, r.Duplicated, want)
	}
	for name, got := range map[string]struct{ value, low, high float64 }{
		"E2EReadingsPerS": {r.E2EReadingsPerS, 1000, 1e8},
		"IPBytesLive1s":   {r.IPBytesLive1s, 30, 80},
		"IPBytesLive10s":  {r.IPBytesLive10s, 30, 80},
		"IPBytesBacklog":  {r.IPBytesBacklog, 30, 80},
		"DrainS":          {r.DrainS, 0.001, 60},
		"ResumeS":         {r.ResumeS, 0.001, r.DrainS},
		"RSSMiB":          {r.RSSMiB, 1, 500},
		"RSSBacklogMiB":   {r.RSSBacklogMiB, r.RSSMiB, 1000},
	} {
		if got.value < got.low || got.value > got.high {
			t.Errorf("%s is %g, which cannot be: want %g to %g", name, got.value, got.low, got.high)
		}
	}
}

func TestSaveOnChangeWrites(t *testing.T) {
	c := Config{Dir: t.TempDir(), Seed: dataset.DefaultSeed, Readings: 20_000, SaveOnChange: true}
	if *full {
		c = Durable(t.TempDir(), dataset.DefaultSeed)
	}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	if r.Lost != 0 || r.Duplicated != 0 {
		t.Errorf("lost %d, duplicated %d", r.Lost, r.Duplicated)
	}
	if _, err := os.Stat(c.Dir + "/edge/mosquitto.db"); err != nil {
		t.Errorf("the edge broker saved nothing: %v", err)
	}
}

func TestTallySeesLossAndDuplicates(t *testing.T) {
	payloads := append(packs(dataset.NewGen(7), 5, 1), packs(dataset.NewGen(7), 1, 10)...)
	count := newTally()
	for _, i := range []int{0, 1, 3, 3, 4} { // message 2 lost, 3 twice
		if err := count.add(payloads[i]); err != nil {
			t.Fatal(err)
		}
	}
	if count.lost(500) != 100 || count.duplicated != 100 || count.arrivals != 500 {
		t.Errorf("counted %d lost, %d duplicated, %d arrivals, want 100, 100, 500", count.lost(500), count.duplicated, count.arrivals)
	}
	ten := newTally()
	if err := ten.add(payloads[5]); err != nil || ten.lost(1000) != 0 || ten.duplicated != 0 {
		t.Errorf("a pack of ten sweeps: %d lost, %d duplicated, %v", ten.lost(1000), ten.duplicated, err)
	}
	if err := count.add(bytes.Replace(payloads[0], []byte("boiler"), []byte("broiler"), 1)); err == nil {
		t.Error("a reading of an unknown point was counted")
	}
	if err := count.add(payloads[0][:100]); err == nil {
		t.Error("a damaged message was counted")
	}
}

func TestConfigNamesEveryMistake(t *testing.T) {
	_, err := Run(context.Background(), Config{Readings: 150, Backlog: -1, Live: 1, SaveOnChange: true})
	for _, name := range []string{"Dir", "Readings", "Backlog", "Live"} {
		if err == nil || !strings.Contains(err.Error(), "peer: "+name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
}
