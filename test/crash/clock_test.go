package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/protocol"
)

const year = 365 * 24 * time.Hour

// steppingAgent builds an agent whose wall clock the test can set. Linux can give a process no wall clock of its own (time
// namespaces hold only the monotonic and boot-time clocks, time_namespaces(7)), a static Go program takes no preloaded
// library, and setting the machine's clock would disturb whatever else runs on it. So the build replaces one file of the
// standard library, through the compiler's overlay: in it, time.Now adds a step to the wall clock's seconds and leaves the
// monotonic reading alone, which is what a step of CLOCK_REALTIME does. Nothing in the agent's own sources is replaced; one
// file is added to its main package, which reads the step from a file.
func steppingAgent(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	std := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time", "time.go")
	source, err := os.ReadFile(std)
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if !bytes.Contains(source, []byte(now)) {
		t.Fatal("time.Now of this Go version reads the clock in another way; adapt this test to it")
	}
	source = bytes.Replace(source, []byte(now), []byte("// WallStep is added to the wall clock, in seconds.\nvar WallStep int64\n\n"+now+"\tsec += WallStep\n"), 1)
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	added := `package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

func init() {
	go func() {
		for ; ; time.Sleep(10 * time.Millisecond) {
			b, _ := os.ReadFile(os.Getenv("TIDEMARK_TEST_WALL_STEP"))
			if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
				time.WallStep = n
			}
		}
	}()
}
`
	overlay := map[string]string{std: write(t, dir, "time.go", source), filepath.Join(root, "agent", "cmd", "tidemark-agent", "step.go"): write(t, dir, "step.go", []byte(added))}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "tidemark-agent")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-overlay", write(t, dir, "overlay.json", list), "-o", out, "./agent/cmd/tidemark-agent")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build an agent with a clock that steps: %v\n%s", err, said)
	}
	return out
}

func write(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// The gateway's wall clock steps by a year, forwards and back, while it samples with times of now, and once it is killed
// while the clock is wrong. What this covers: the whole agent and the whole cloud as processes, with every reading of the
// wall clock in the agent stepped and its monotonic clock and the kernel's boot-time clock left alone. What it does not: a
// step of the cloud's own clock, and kernel timers set on CLOCK_REALTIME, of which the agent has none.
//
// Readings go on at their pace through each step; each is in the stream and in the warehouse once; each step is told by a
// clock message; trace and accounts hold; and readings bear the time that the wall clock then showed.
func TestWallClockSteps(t *testing.T) {
	agentBinary := steppingAgent(t)
	c := newCloud(t, filepath.Join(t.TempDir(), "c"), "--retention", "30000h")
	c.start(t)
	c.up(t)
	dir := t.TempDir()
	profile := counting(t, dir, 4000)
	t.Setenv("TIDEMARK_TEST_WALL_STEP", write(t, dir, "step", []byte("0")))
	data := filepath.Join(dir, "a")
	run := func() *agentProcess { return startAgentFrom(t, agentBinary, profile, data, c.mqtt) }
	a := run()
	committed := uint64(0)
	more := func(what string) {
		t.Helper()
		began, from := time.Now(), committed
		until(t, 20*time.Second, "readings go on "+what, func() bool {
			a.mustRun()
			if s, err := a.status(); err == nil {
				committed = s.Outbox.NextSeq - 1
			}
			return committed >= from+10
		})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s, ten messages took %v", what, took)
		}
	}
	set := func(by time.Duration) {
		t.Helper()
		before := a.log.count("the wall clock stepped")
		write(t, dir, "step", strconv.AppendInt(nil, int64(by/time.Second), 10))
		until(t, 20*time.Second, "the agent notices the step", func() bool { a.mustRun(); return a.log.count("the wall clock stepped") > before })
		more(fmt.Sprintf("with the clock off by %v", by))
	}
	more("at first")
	for _, by := range []time.Duration{year, 0, -year, 0, year} {
		set(by)
	}
	a.kill()
	a = run()
	more("after a kill, a year ahead")
	set(0)
	a.stop()
	profile = counting(t, dir, lastLife) // so that what it said at its end arrives too, and there is an end
	a = run()
	r := &rig{t: t, agent: a, cloud: c}
	r.drain(30 * time.Second)
	a.kill()
	checkSteps(t, c)
}

// lastLife is how many readings the agent's last life has.
const lastLife = 5

// counting writes a profile whose only point counts up to most, twenty times a second, with times of now.
func counting(t *testing.T, dir string, most int) string {
	t.Helper()
	var csv []byte
	for n := range most {
		csv = fmt.Appendf(csv, "%s,rig.n,%d\n", time.UnixMilli(1_700_000_000_000+int64(n)*50).UTC().Format("2006-01-02T15:04:05.000Z"), n)
	}
	file := write(t, dir, "count.csv", csv)
	return write(t, dir, "profile.yaml", fmt.Appendf(nil, "version: 1\nsite: crash\ngateway: gw-1\ncadence: {commit: 100ms, send: 100ms, heartbeat: 5s}\nbuses:\n"+
		"  - {name: count, driver: replay, file: %s, speed: 1, at: now, devices: [{name: rig, points: [{name: n, type: int}]}]}\n", file))
}

// stepped is what the cloud holds of the gateway whose clock stepped.
type stepped struct {
	times map[string]int // reading "time value": how often
	steps []int64        // of clock messages, milliseconds
	far   [3]int         // readings about a year ago, about now, about a year ahead
	seqs  protocol.Set
}

func checkSteps(t *testing.T, c *cloud) {
	t.Helper()
	s := stepped{times: map[string]int{}}
	var through uint64
	entries(t, c.nats, func(e *stream.Entry, lookup protocol.LookupSchema) {
		through = e.Sequence
		for _, m := range e.Messages {
			s.add(t, m, lookup)
		}
	})
	perValue := map[string]int{}
	for r, n := range s.times {
		perValue[strings.Fields(r)[1]] += n
	}
	for v := range 20 { // each life of the agent counts from 0: two lives and a short one
		want := 2
		if v < lastLife {
			want = 3
		}
		if n := perValue[strconv.Itoa(v)]; n != want {
			t.Errorf("the value %d is in the stream %d times, want %d", v, n, want)
		}
	}
	if gaps := s.seqs.Missing(1, s.seqs.Max()); !gaps.Empty() {
		t.Errorf("seqs %s are not in the stream", gaps)
	}
	for i, name := range []string{"a year ago", "now", "a year ahead"} {
		if s.far[i] < 10 {
			t.Errorf("%d readings bear a time of about %s", s.far[i], name)
		}
	}
	told := [2]int{}
	for _, ms := range s.steps {
		if d := time.Duration(ms) * time.Millisecond; (d - year).Abs() < time.Minute {
			told[0]++
		} else if (d + year).Abs() < time.Minute {
			told[1]++
		}
	}
	if told[0] < 3 || told[1] < 3 {
		t.Errorf("clock messages tell of %d steps ahead and %d back, there were 3 of each: %v", told[0], told[1], s.steps)
	}
	stored(t, c, through, &s)
}

func (s *stepped) add(t *testing.T, m *protocol.Message, lookup protocol.LookupSchema) {
	t.Helper()
	seqs := m.Seqs()
	if m.Type != protocol.TypeSchema && seqs.Minus(s.seqs).Count() != seqs.Count() {
		t.Errorf("seqs %s are in the stream twice", seqs)
	}
	switch m.Type {
	case protocol.TypeSchema:
		return
	case protocol.TypeClock:
		var k protocol.Clock
		if err := protocol.Unmarshal(m.Body, &k); err != nil {
			t.Fatal(err)
		}
		if k.StepMs != 0 {
			s.steps = append(s.steps, k.StepMs)
		}
	case protocol.TypeTelemetry:
		tel, err := m.Telemetry(lookup)
		if err != nil {
			t.Fatal(err)
		}
		for i := range tel.Scans {
			at := tel.Time(i, 0)
			s.times[fmt.Sprintf("%d %d", at, tel.Columns[0].Value(i).Int())]++
			for k, off := range []time.Duration{-year, 0, year} {
				if time.Until(time.UnixMilli(at).Add(-off)).Abs() < time.Hour {
					s.far[k]++
				}
			}
		}
	}
	s.seqs.AddSet(seqs)
}

// stored holds warehouse, trace and account against the stream.
func stored(t *testing.T, c *cloud, through uint64, s *stepped) {
	t.Helper()
	total := 0
	for r, n := range s.times {
		if total += n; n != 1 {
			t.Errorf("the reading %q is in the stream %d times", r, n)
		}
	}
	var page struct {
		Readings []contract.Reading `json:"readings"`
		Through  uint64             `json:"through"`
	}
	var g contract.GatewayState
	until(t, 30*time.Second, "warehouse and ledger hold the stream", func() bool {
		err := c.get("/api/v1/readings?site=crash&limit=20000", &page)
		return err == nil && page.Through >= through && c.get("/api/v1/gateways/crash/gw-1", &g) == nil &&
			len(g.Epochs) == 1 && g.Epochs[0].Ranges == s.seqs.String()
	})
	for _, r := range page.Readings {
		if s.times[fmt.Sprintf("%d %d", r.TimeMs, number(r.Value))]--; r.RawTimeMs != 0 {
			t.Errorf("the reading at %d was placed elsewhere than its clock showed (%d)", r.TimeMs, r.RawTimeMs)
		}
	}
	for r, n := range s.times {
		if n != 0 {
			t.Errorf("the reading %q (time and value) is in the warehouse %d times", r, 1-n)
			break
		}
	}
	if a := g.Account; a.In != a.Out+a.InFlight+a.Dropped+a.Dead || a.Dropped != 0 || a.Out != s.seqs.Count() {
		t.Errorf("the account is %+v, the stream holds %d messages", a, s.seqs.Count())
	}
	epoch, err := protocol.ParseEpoch(g.Epochs[0].Epoch)
	if err != nil {
		t.Fatal(err)
	}
	var trace contract.TraceResult
	if err := c.get("/api/v1/traces/"+protocol.TraceIDOf(epoch, s.seqs.Max()/2).String(), &trace); err != nil || len(trace.Messages) != 1 {
		t.Errorf("the trace of a message in the middle: %+v, %v", trace, err)
	}
	t.Logf("%d readings (%v a year ago, now, a year ahead), steps told (ms) %v, account %+v", total, s.far, s.steps, g.Account)
}

// entries visits every entry of the stream as it is now.
func entries(t *testing.T, addr string, visit func(*stream.Entry, protocol.LookupSchema)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if readEntries(ctx, t, addr, visit) == 0 {
		t.Fatal("the stream is empty")
	}
}
