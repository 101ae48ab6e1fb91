//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"
)

// goal is what a figure is to reach, and the best that a peer was measured at
// on this kind of machine.
type goal struct {
	key, what string
	limit     float64
	atLeast   bool
	peer      string
}

var goals = []goal{
	{"e2e_readings_per_s", "replay to stream, fsync at both ends", 1_000_000, true, "367,000"},
	{"stored_readings_per_s", "replay to warehouse, rules and ledger on", 500_000, true, "-"},
	{"agent_cpu_s_per_million", "user + system, agent only", 0.5, false, "0.32 without fsync, 1.2 with"},
	{"ip_bytes_per_reading_live_1s", "100 points at 1 Hz, sent each 1 s", 9, false, "19.2"},
	{"ip_bytes_per_reading_live_10s", "the same, sent each 10 s", 3, false, "19.2"},
	{"ip_bytes_per_reading_backlog", "the same, draining a backlog", 1.6, false, "19.2"},
	{"disk_bytes_per_reading", "outbox with the backlog", 4, false, "47"},
	{"flash_bytes_per_reading", "written at 100 points, 1 Hz, 1 s commits", 150, false, "880"},
	{"agent_rss_mib", "100 points at 1 Hz", 16, false, "8.9 (C), 24.6 (Go)"},
	{"agent_rss_backlog_mib", "with the backlog, while it drains", 32, false, "57"},
	{"drain_s", "the backlog, from link back to last commit", 1.0, false, "0.8"},
	{"fresh_p95_s", "age of fresh readings meanwhile", 2.0, false, "-"},
	{"resume_s", "link back to first commit, after 2 min of silence", 2, false, "0.2"},
	{"lost", "readings, over all runs", 0, false, "0"},
	{"duplicated", "readings, over all runs", 0, false, "0 to 423,132"},
	{"agent_binary_mib", "linux/amd64, stripped", 12, false, "0.6 (C), 23.2 (Go)"},
	{"agent_start_s", "start to first committed reading", 0.3, false, "-"},
	{"cloud_start_s", "start until API and broker answer", 0.5, false, "-"},
	{"cloud_rss_mib", "all in one, idle", 80, false, "-"},
	{"ledger_cost_pct", "cloud CPU while storing, ledger on against off", 5, false, "-"},
}

// report gathers figures by key.
type report struct {
	samples map[string][]float64
	sums    map[string]float64
	notes   map[string]string
	mu      sync.Mutex
}

// locked runs f while no other does, for cases with runs side by side.
func (r *report) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func newReport() *report {
	return &report{samples: map[string][]float64{}, sums: map[string]float64{}, notes: map[string]string{}}
}

// add records one run's figure; the table shows the median.
func (r *report) add(key string, v float64) {
	r.samples[key] = append(r.samples[key], v)
	fmt.Fprintf(os.Stderr, "bench:   %s = %s\n", key, number(v))
}

// sum adds to a figure that counts over all runs.
func (r *report) sum(key string, v float64) { r.sums[key] += v }

func (r *report) value(key string) (float64, bool) {
	if v, ok := r.sums[key]; ok {
		return v, true
	}
	s := slices.Clone(r.samples[key])
	if len(s) == 0 {
		return 0, false
	}
	slices.Sort(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2, true
	}
	return s[len(s)/2], true
}

func number(v float64) string {
	if v >= 10_000 || v == float64(int64(v)) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func (g goal) met(v float64) bool {
	if g.atLeast {
		return v >= g.limit
	}
	return v <= g.limit
}

func (r *report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "KEY\tMEASURED\tGOAL\t\tMOSQUITTO, SAME RUN\tBEST PEER MEASURED\tWHAT")
	for _, g := range goals {
		v, ok := r.value(g.key)
		if !ok {
			continue
		}
		sign, verdict := "≤", "met"
		if g.atLeast {
			sign = "≥"
		}
		if !g.met(v) {
			verdict = "MISSED"
		}
		peer := "-"
		if p, ok := r.value("peer_" + g.key); ok {
			peer = number(p)
		}
		fmt.Fprintf(t, "%s\t%s\t%s %s\t%s\t%s\t%s\t%s\n", g.key, number(v), sign, number(g.limit), verdict, peer, g.peer, g.what)
	}
	if err := t.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	for key, note := range r.notes {
		fmt.Fprintf(w, "%s: %s\n", key, note)
	}
}

// figure is one line of the file.
type figure struct {
	Value   float64   `json:"value"`
	Goal    float64   `json:"goal,omitempty"`
	Met     *bool     `json:"met,omitempty"`
	Peer    *float64  `json:"mosquitto_same_run,omitempty"`
	Samples []float64 `json:"samples,omitempty"`
	Note    string    `json:"note,omitempty"`
}

func (r *report) save(path string) error {
	figures := map[string]figure{}
	for _, g := range goals {
		v, ok := r.value(g.key)
		if !ok {
			continue
		}
		met := g.met(v)
		f := figure{Value: v, Goal: g.limit, Met: &met, Samples: r.samples[g.key], Note: r.notes[g.key]}
		if p, ok := r.value("peer_" + g.key); ok {
			f.Peer = &p
		}
		figures[g.key] = f
	}
	out, err := json.MarshalIndent(map[string]any{
		"time": time.Now().UTC().Format(time.RFC3339), "go": runtime.Version(), "cpus": runtime.NumCPU(), "figures": figures,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(out, '\n'), 0o644)
}
