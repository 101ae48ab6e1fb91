//go:build linux

package clockstep

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/protocol"
)

const year = 365 * 24 * time.Hour

const profile = `version: 1
site: clocks
gateway: gw-1
cadence: {interval: 100ms, commit: 100ms, send: 100ms, heartbeat: 5s}
buses:
  - name: self
    driver: host
    devices:
      - name: gateway
        points:
          - {name: memory, metric: mem_used_pct}
          - {name: load, metric: load_1}
          - {name: uptime, metric: uptime_s}
`

// TestTheWallClockStepsByAYear steps it forward, far back and to where it was,
// while the agent samples. Every message that the outbox numbered is in the
// stream once, every reading in the warehouse once, and each step was told.
func TestTheWallClockStepsByAYear(t *testing.T) {
	dir := t.TempDir()
	buildShifted(t, filepath.Join(dir, "agent"))
	build(t, filepath.Join(dir, "cloud"), "./cloud/cmd/tidemark-cloud")
	clock := newWallClock(t)
	mqtt, httpAddr, natsAddr := freeAddr(t), freeAddr(t), freeAddr(t)
	start(t, nil, filepath.Join(dir, "cloud"), "--data", filepath.Join(dir, "c"), "--mqtt-listen", mqtt, "--http-listen", httpAddr, "--nats-listen", natsAddr, "--quiet")
	until(t, "the cloud listens", func() bool { return dials(mqtt) && dials(natsAddr) && dials(httpAddr) })
	file := filepath.Join(dir, "profile.yaml")
	if err := os.WriteFile(file, []byte(profile), 0o644); err != nil {
		t.Fatal(err)
	}
	agent := start(t, []string{"TIDEMARK_TEST_CLOCK=" + clock.file.Name()}, filepath.Join(dir, "agent"), "run", "--profile", file,
		"--data", filepath.Join(dir, "a"), "--socket", filepath.Join(dir, "agent.sock"), "--broker", "mqtt://"+mqtt, "--quiet")

	for _, shift := range []time.Duration{0, year, -year, 0} {
		clock.set(shift)
		s := newest(t, natsAddr)
		want := time.Now().Add(shift)
		until(t, fmt.Sprintf("twenty messages by a clock shifted by %v are in the stream", shift), func() bool {
			b := read(t, natsAddr)
			near := func(ms int64) bool { return time.UnixMilli(ms).Sub(want).Abs() < year/2 }
			n := 0
			for _, m := range b.telemetry {
				if m.sequence > s && near(m.Time) {
					n++
				}
			}
			return n >= 20
		})
	}
	if err := agent.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := agent.Wait(); err != nil {
		t.Fatalf("the agent ended with %v", err)
	}

	b := read(t, natsAddr)
	if got := b.seqs.Ranges(); len(got) != 1 || got[0].First != 1 || b.twice > 0 {
		t.Errorf("the stream holds seqs %s, %d of them twice", b.seqs, b.twice)
	}
	b.checkMessages(t)
	if want := []time.Duration{year, -2 * year, year}; !slices.EqualFunc(b.steps, want, func(a, b time.Duration) bool { return (a - b).Abs() < time.Minute }) {
		t.Errorf("steps of %v were told, not %v", b.steps, want)
	}
	var count contract.CountResult
	until(t, "the warehouse holds what the stream holds", func() bool {
		get(t, httpAddr, "/api/v1/readings/count?site=clocks", &count)
		return count.Readings >= int64(b.readings)
	})
	if count.Readings != int64(b.readings) {
		t.Errorf("the warehouse holds %d readings, the stream %d", count.Readings, b.readings)
	}
	var g contract.GatewayState
	get(t, httpAddr, "/api/v1/gateways/clocks/gw-1", &g)
	if a := g.Account; a.In == 0 || a.In != a.Out || a.Dropped+a.Dead+a.InFlight != 0 {
		t.Errorf("the account is %+v", a)
	}
}

// message is a telemetry message with its place in the stream.
type message struct {
	*protocol.Message
	sequence uint64
	first    int64 // time of its oldest reading
}

// book is what the stream holds.
type book struct {
	telemetry []message
	seqs      protocol.Set
	twice     int
	readings  int
	steps     []time.Duration
}

// checkMessages looks at each message by itself: the monotonic time goes on
// whatever the wall clock does, and its readings lie shortly before it.
func (b *book) checkMessages(t *testing.T) {
	t.Helper()
	slices.SortFunc(b.telemetry, func(x, y message) int { return int(x.Seq) - int(y.Seq) })
	for i, m := range b.telemetry {
		if i > 0 && m.Mono < b.telemetry[i-1].Mono {
			t.Errorf("seq %d: monotonic time %d after %d", m.Seq, m.Mono, b.telemetry[i-1].Mono)
		}
		if before := m.Time - m.first; before < 0 || before > time.Hour.Milliseconds() {
			t.Errorf("seq %d: its oldest reading is %d ms older than the message", m.Seq, before)
		}
	}
}

// read reads the stream as it is now.
func read(t *testing.T, addr string) *book {
	t.Helper()
	conn, err := nats.Connect("nats://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last := lastSequence(t, js)
	b := &book{}
	if last == 0 {
		return b
	}
	r := stream.NewReader(js, slog.New(slog.DiscardHandler))
	entries := make(chan *stream.Entry, 4)
	go func() { _ = r.Run(ctx, 0, entries) }() // ends with ctx, and says nothing then
	for e := range entries {
		for _, m := range e.Messages {
			b.add(t, m, e.Sequence, r.Lookup(ctx))
		}
		if e.Sequence >= last {
			cancel()
			break
		}
	}
	for range entries { // until the reader has ended
	}
	return b
}

func (b *book) add(t *testing.T, m *protocol.Message, sequence uint64, lookup protocol.LookupSchema) {
	t.Helper()
	if m.Type == protocol.TypeSchema {
		return
	}
	seqs := m.Seqs()
	b.twice += int(seqs.Count() - seqs.Minus(b.seqs).Count())
	b.seqs.AddSet(seqs)
	switch m.Type {
	case protocol.TypeTelemetry:
		tel, err := m.Telemetry(lookup)
		if err != nil {
			t.Fatal(err)
		}
		b.readings += tel.Readings()
		b.telemetry = append(b.telemetry, message{m, sequence, tel.Times[0]})
	case protocol.TypeClock:
		var c protocol.Clock
		if err := protocol.Unmarshal(m.Body, &c); err != nil {
			t.Fatal(err)
		}
		if c.StepMs != 0 {
			b.steps = append(b.steps, time.Duration(c.StepMs)*time.Millisecond)
		}
	}
}

func lastSequence(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	s, err := js.Stream(t.Context(), contract.StreamDevice)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

func newest(t *testing.T, addr string) uint64 {
	t.Helper()
	conn, err := nats.Connect("nats://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return lastSequence(t, js)
}

func start(t *testing.T, env []string, path string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // it may have ended
			_ = cmd.Wait()
		}
	})
	return cmd
}

// until waits for a condition. The limit is there so that a test which can
// only fail ends.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(2 * time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not reached: %s", what)
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dials(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func get(t *testing.T, addr, path string, v any) {
	t.Helper()
	r, err := http.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode == http.StatusOK {
		err = json.NewDecoder(r.Body).Decode(v)
	}
	if err != nil {
		t.Fatal(err)
	}
}
