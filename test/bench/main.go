//go:build linux

// Command bench measures Tidemark against its goals, and beside it, in the
// same run and on the same data, what a user would build instead: Mosquitto
// bridging to Mosquitto. It prints one table and writes build/bench.json.
//
// It runs the built binaries as processes of their own and looks at them from
// outside: the kernel's counts of CPU, memory and written bytes, a counting
// proxy in the link, and the stream itself, from which every reading is
// counted, so that a loss or a duplicate is a number.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := bench{report: newReport()}
	only := flag.String("only", "", "cases to run, separated by commas: "+strings.Join(names(), ", "))
	out := flag.String("o", "build/bench.json", "file for the figures")
	flag.IntVar(&b.runs, "runs", 3, "runs of each case; the table shows medians")
	flag.IntVar(&b.readings, "n", 4_000_000, "readings of a throughput run")
	flag.IntVar(&b.backlog, "backlog", 1_000_000, "readings of a backlog")
	flag.BoolVar(&b.verbose, "v", false, "show what the processes log")
	flag.Parse()
	if err := b.run(ctx, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// testCase is one set-up that is measured, giving one or more figures.
type testCase struct {
	name string
	runs int // 0: as often as asked for
	run  func(b *bench, ctx context.Context) error
}

func cases() []testCase {
	return []testCase{
		{"size", 1, (*bench).size},
		{"start", 0, (*bench).start},
		{"e2e", 0, (*bench).e2e},
		{"stored", 0, (*bench).stored},
		{"live", 1, (*bench).live},
		{"backlog", 0, (*bench).drain},
		{"resume", 1, (*bench).resume},
		{"peer", 1, (*bench).peer},
	}
}

func names() (out []string) {
	for _, c := range cases() {
		out = append(out, c.name)
	}
	return out
}

type bench struct {
	report            *report
	runs              int
	readings, backlog int
	verbose           bool
	bin, dir          string
}

func (b *bench) run(ctx context.Context, only, out string) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "tidemark-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.build(ctx); err != nil {
		return err
	}
	for _, c := range cases() {
		if only != "" && !slices.Contains(strings.Split(only, ","), c.name) {
			continue
		}
		runs := c.runs
		if runs == 0 {
			runs = b.runs
		}
		for i := range runs {
			fmt.Fprintf(os.Stderr, "bench: %s, run %d of %d\n", c.name, i+1, runs)
			if err := c.run(b, ctx); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	b.report.print(os.Stdout)
	return b.report.save(out)
}
