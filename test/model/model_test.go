package model

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var deep = flag.Bool("deep", false, "also search bigger state spaces, in about a minute: go test ./test/model -args -deep")

// The words with which spin's verifier names what it found.
const (
	loss         = "assertion violated ((acked& ~(stored))==0)"
	duplicate    = "assertion violated ((b&stored)==0)"
	invented     = "assertion violated ((b& ~(committed))==0)"
	neverDrained = "acceptance cycle"
)

// TestProtocol searches the protocol as it is. A search smaller than minStates has not seen what it should.
func TestProtocol(t *testing.T) {
	type check struct {
		name, defines string
		minStates     int
	}
	checks := []check{
		{"safety, two seqs, the network explicit", "", 50_000},
		{"safety, three seqs", "-DN=3 -DANYTHING", 1_500_000},
		{"progress, two seqs, two faults", "-DPROGRESS -DFAULTS=2", 250_000},
	}
	if *deep {
		checks = append(checks,
			check{"progress, three seqs, one fault", "-DPROGRESS -DN=3 -DFAULTS=1", 2_000_000},
			check{"progress, two seqs, three faults", "-DPROGRESS -DFAULTS=3", 1_000_000})
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := search(t, c.defines)
			t.Logf("%d states, %s", r.states, r.took.Round(time.Millisecond))
			if r.violation != "" {
				t.Fatalf("%s\n%s", r.violation, r.trail)
			}
			if !r.complete {
				t.Fatalf("the search ended before it had seen every state:\n%s", r.output)
			}
			if r.states < c.minStates {
				t.Errorf("only %d states, want %d or more: the model has become smaller than the protocol", r.states, c.minStates)
			}
			for _, line := range r.unreached {
				t.Errorf("never reached, so nothing is proved about it: %s", line)
			}
		})
	}
}

// TestMutants takes one rule at a time out of the protocol: the search must find what the rule prevents.
func TestMutants(t *testing.T) {
	for _, c := range []struct{ defines, want string }{
		{"-DPUBACK_DELETES", loss},
		{"-DEARLY_ACK", loss},
		{"-DNO_CAS", duplicate},
		{"-DNO_TRIM", duplicate},
		{"-DSPLIT_TIDEMARK", duplicate},
		{"-DEARLY_SEND", invented},
		{"-DPROGRESS -DFAULTS=1 -DSILENT_DUPLICATE", neverDrained},
		{"-DPROGRESS -DFAULTS=1 -DNO_RESEND", neverDrained},
	} {
		t.Run(c.defines, func(t *testing.T) {
			t.Parallel()
			if r := search(t, c.defines); !strings.Contains(r.violation, c.want) {
				t.Errorf("found %q, want %q: the model does not notice that this rule is missing\n%s", r.violation, c.want, r.output)
			}
		})
	}
}

// result is what one search found.
type result struct {
	violation string // empty when there is none
	complete  bool
	states    int
	unreached []string // statements that no run executes, ends of endless processes left out
	took      time.Duration
	output    string
	trail     string // the steps that lead to the violation
}

// search makes a verifier from the model with the given defines, and runs it.
func search(t *testing.T, defines string) result {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs("sync.pml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(source, filepath.Join(dir, "sync.pml")); err != nil {
		t.Fatal(err)
	}
	must(t, dir, "spin", append(append([]string{}, strings.Fields(defines)...), "-a", "sync.pml")...)
	compile, args := []string{"-DSAFETY"}, []string{"-m1000000"}
	if strings.Contains(defines, "PROGRESS") {
		compile, args = []string{"-DNFAIR=3"}, append(args, "-a", "-f") // -f: weak fairness
	}
	must(t, dir, "gcc", append(compile, "-O2", "-w", "-DCOLLAPSE", "-DMEMLIM=900", "-o", "pan", "pan.c")...)
	start := time.Now()
	r := parse(must(t, dir, "./pan", args...))
	r.took = time.Since(start)
	if r.violation != "" {
		r.trail = must(t, dir, "./pan", append(args, "-r")...)
	}
	return r
}

// must runs a command to its end. Only the verifier may fail: it then says in its output why.
func must(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (name != "./pan" || !errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("%s %s: %v (test/setup.sh installs spin and gcc)\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

var (
	errorsLine = regexp.MustCompile(`errors: (\d+)`)
	statesLine = regexp.MustCompile(`(?m)^\s*([0-9.e+]+) states, stored`)
	violation  = regexp.MustCompile(`(?m)^pan:\d+: (.*)$`)
)

func parse(out string) result {
	r := result{output: out}
	if m := statesLine.FindStringSubmatch(out); m != nil {
		states, _ := strconv.ParseFloat(m[1], 64)
		r.states = int(states)
	}
	if m := violation.FindStringSubmatch(out); m != nil {
		r.violation = m[1]
	}
	m := errorsLine.FindStringSubmatch(out)
	switch {
	case m == nil:
		r.violation = "the verifier did not finish: " + out
	case m[1] != "0" && r.violation == "":
		r.violation = "errors: " + m[1]
	}
	r.complete = m != nil && !strings.Contains(out, "Search not completed") && !strings.Contains(out, "max search depth too small")
	_, report, found := strings.Cut(out, "unreached in")
	r.complete = r.complete && found
	for line := range strings.Lines(report) {
		if strings.Contains(line, ", state ") && !strings.Contains(line, `"-end-"`) {
			r.unreached = append(r.unreached, strings.TrimSpace(line))
		}
	}
	return r
}

// TestParseSeesTrouble holds the reading of spin's report itself: a report that shows trouble must not read as a clean one.
func TestParseSeesTrouble(t *testing.T) {
	const clean = "State-vector 52 byte, depth reached 9, errors: 0\n    58817 states, stored\n 1.9e+06 states, matched\n" +
		"unreached in proctype Link\n\tsync.pml:140, state 47, \"-end-\"\n\t(1 of 47 states)\n"
	if r := parse(clean); r.violation != "" || !r.complete || r.states != 58817 || len(r.unreached) != 0 {
		t.Errorf("a clean report reads as %+v", r)
	}
	if r := parse(strings.Replace(clean, `"-end-"`, `"last = (last+1)"`, 1)); len(r.unreached) != 1 {
		t.Error("an unreached statement was not seen")
	}
	if r := parse("Warning: Search not completed\n" + clean); r.complete {
		t.Error("an unfinished search reads as complete")
	}
	if r := parse("error: max search depth too small\n" + clean); r.complete {
		t.Error("a search cut at its depth reads as complete")
	}
	if r := parse(strings.Replace(clean, "errors: 0", "errors: 1", 1)); r.violation == "" {
		t.Error("an error without a name was not seen")
	}
	if r := parse("pan: out of memory\n"); r.violation == "" || r.complete {
		t.Error("a verifier that died reads as clean")
	}
}
