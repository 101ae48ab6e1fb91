package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tidemark/agent"
	"tidemark/agent/control"
	"tidemark/agent/outbox"
	"tidemark/agent/profile"
	"tidemark/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hostProfile = `version: 1
site: test-site
gateway: gw-1
cadence: {interval: 50ms, commit: 100ms, send: 100ms, heartbeat: 5s}
buses:
  - name: self
    driver: host
    devices:
      - name: gateway
        points:
          - {name: memory, metric: mem_used_pct}
          - {name: uptime, metric: uptime_s}
`

// closedPort returns an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func config(t *testing.T, profileText string) agent.Config {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "profile.yaml")
	if err := os.WriteFile(file, []byte(profileText), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := agent.DefaultConfig()
	cfg.Profile, cfg.Data, cfg.Broker, cfg.Version = file, filepath.Join(dir, "data"), "mqtt://"+closedPort(t), "test"
	cfg.Log = slog.New(slog.DiscardHandler)
	return cfg
}

// start runs an agent and returns once it is ready.
func start(t *testing.T, cfg agent.Config) (stop func() error) {
	t.Helper()
	ready := make(chan struct{})
	cfg.OnReady = func() { close(ready) }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx, cfg) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("the agent ended: %v", err)
	}
	return stop
}

// kept opens the outbox of an agent that has stopped and returns its messages.
func kept(t *testing.T, dir string) (run uint64, msgs []*protocol.Message, box *outbox.Outbox) {
	t.Helper()
	box, err := outbox.Open(t.Context(), outbox.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	stored, err := box.Read(0, box.Head(), 1<<30, protocol.Set{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stored {
		m, err := protocol.DecodeMessage(s.Data)
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, m)
	}
	return box.RunNumber(), msgs, box
}

// waitStatus asks a running agent until ok.
func waitStatus(t *testing.T, cfg agent.Config, what string, ok func(*control.Status) bool) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(cfg.Data, "agent.sock"))
	}}}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		resp, err := client.Get("http://agent/status")
		if err != nil {
			t.Fatal(err)
		}
		var s control.Status
		err = json.NewDecoder(resp.Body).Decode(&s)
		resp.Body.Close()
		if err == nil && ok(&s) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not in 20 s: %s; the status is %+v (%v)", what, s, err)
		}
	}
}

func TestStartAndStop(t *testing.T) {
	cfg := config(t, hostProfile)
	for range 2 {
		stop := start(t, cfg)
		waitStatus(t, cfg, "two polls", func(s *control.Status) bool { return s.Buses[0].Good >= 4 })
		most := uint64(0) // what is counted from heartbeat to heartbeat starts anew
		waitStatus(t, cfg, "a heartbeat", func(s *control.Status) bool {
			most = max(most, s.Buses[0].Good)
			return s.Buses[0].Good < most
		})
		waitStatus(t, cfg, "polls behind it", func(s *control.Status) bool { return s.Buses[0].Good >= 4 })
		if err := stop(); err != nil {
			t.Fatalf("stop: %v", err)
		}
		if _, err := os.Stat(filepath.Join(cfg.Data, "agent.sock")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("its socket is still there: %v", err)
		}
	}
	run, msgs, box := kept(t, cfg.Data)
	if run != 3 {
		t.Errorf("this is run %d, want 3", run)
	}
	var events []string
	readings := 0
	types := map[protocol.Type]int{}
	for i, m := range msgs {
		if m.Seq != uint64(i+1) || m.Epoch != box.Epoch() || m.Boot == 0 {
			t.Fatalf("message %d is %d of epoch %x", i+1, m.Seq, m.Epoch)
		}
		types[m.Type]++
		switch m.Type {
		case protocol.TypeEvent:
			var e protocol.Event
			if err := protocol.Unmarshal(m.Body, &e); err != nil {
				t.Fatal(err)
			}
			events = append(events, e.Code)
		case protocol.TypeTelemetry:
			tel, err := m.Telemetry(box.Schema)
			if err != nil {
				t.Fatal(err)
			}
			readings += tel.Readings()
		}
	}
	want := []string{protocol.EventStarted, protocol.EventStopped, protocol.EventStarted, protocol.EventStopped}
	if strings.Join(events, " ") != strings.Join(want, " ") {
		t.Errorf("events %q, want %q", events, want)
	}
	if readings < 4 || types[protocol.TypeHeartbeat] < 2 || types[protocol.TypeClock] < 1 {
		t.Errorf("%d readings, messages %v", readings, types)
	}
}

func TestSecondAgentOnOneFolder(t *testing.T) {
	cfg := config(t, hostProfile)
	start(t, cfg)
	second := cfg
	second.Socket = filepath.Join(t.TempDir(), "other.sock")
	var inUse *outbox.InUseError
	if err := agent.Run(t.Context(), second); !errors.As(err, &inUse) {
		t.Errorf("a second agent: %v", err)
	}
	other := cfg
	other.Socket, other.Data = filepath.Join(cfg.Data, "agent.sock"), t.TempDir()
	if err := agent.Run(t.Context(), other); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("another agent on the same socket: %v", err)
	}
}

func TestWhatCannotRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		profile string
		change  func(*agent.Config)
		parts   []string
	}{
		"all that is wrong is told": {hostProfile, func(c *agent.Config) { c.Profile, c.Data, c.Budget, c.Broker = "", "", 7, "nowhere" },
			[]string{"profile:", "data:", "budget:", "broker:"}},
		"a scheme that it does not speak": {hostProfile, func(c *agent.Config) { c.Broker = "amqp://h:1" }, []string{"amqp", "mqtt://"}},
		"a folder that cannot be":         {hostProfile, func(c *agent.Config) { c.Data = filepath.Join(file, "data") }, []string{"outbox", file}},
		"a profile that is not there":     {hostProfile, func(c *agent.Config) { c.Profile += "x" }, []string{"no such file"}},
		"a key that is not known":         {hostProfile + "bogus: 1\n", func(*agent.Config) {}, []string{"bogus", ":13:"}},
		"a driver that is not there":      {strings.Replace(hostProfile, "driver: host", "driver: hots", 1), func(*agent.Config) {}, []string{"hots", "host"}},
		"one point twice":                 {hostProfile + "          - {name: uptime, metric: uptime_s}\n", func(*agent.Config) {}, []string{"uptime", ":13:"}},
		"a register that is not possible": {strings.NewReplacer("driver: host", "driver: modbus\n    port: /dev/x", "{name: memory, metric: mem_used_pct}", "{name: memory, input: 70000}", "{name: uptime, metric: uptime_s}", "{name: uptime, input: 1}").Replace(hostProfile), func(*agent.Config) {}, []string{"70000"}},
	} {
		cfg := config(t, c.profile)
		c.change(&cfg)
		err := agent.Run(t.Context(), cfg)
		for _, part := range c.parts {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v; want it to name %q", name, err, part)
			}
		}
		var mistakes *profile.Error
		if strings.HasPrefix(c.parts[len(c.parts)-1], ":") && !errors.As(err, &mistakes) {
			t.Errorf("%s: %T is no profile error", name, err)
		}
	}
}

// A port that does not exist is no reason not to run: it may come back.
func TestMissingPortIsBadReadings(t *testing.T) {
	text := strings.NewReplacer("driver: host", "driver: modbus\n    port: /dev/tidemark-no-such-port", "{name: memory, metric: mem_used_pct}", "{name: memory, input: 0}",
		"{name: uptime, metric: uptime_s}", "{name: uptime, input: 1}", "- name: gateway\n", "- name: gateway\n        unit: 1\n").Replace(hostProfile)
	var log lockedBuffer
	cfg := config(t, text)
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	stop := start(t, cfg)
	for end := time.Now().Add(20 * time.Second); !log.has("tidemark-no-such-port"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the log does not name the port")
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	_, msgs, box := kept(t, cfg.Data)
	bad := 0
	for _, m := range msgs {
		if m.Type != protocol.TypeTelemetry {
			continue
		}
		tel, err := m.Telemetry(box.Schema)
		if err != nil {
			t.Fatal(err)
		}
		for i := range tel.Scans {
			r := tel.Columns[0].Reading(i)
			if r.Quality != protocol.Bad || r.Reason != "port" {
				t.Fatalf("a reading without a port: %+v", r)
			}
			bad++
		}
	}
	if bad == 0 {
		t.Error("no reading says that the port is missing")
	}
}

func TestConfigFile(t *testing.T) {
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cfg := agent.DefaultConfig()
	if err := agent.LoadConfig(write("# nothing is set\n"), &cfg); err != nil || cfg.Data != agent.DefaultConfig().Data {
		t.Errorf("an empty file: %v, %+v", err, cfg)
	}
	if err := agent.LoadConfig(write("data: /x\nbroker: mqtt://h:1\nbudget: 4194304\n"), &cfg); err != nil || cfg.Data != "/x" || cfg.Broker != "mqtt://h:1" || cfg.Budget != 4<<20 {
		t.Errorf("a file: %v, %+v", err, cfg)
	}
	err := agent.LoadConfig(write("data: /x\nbrokre: mqtt://h:1\nbudgte: 1\n"), &cfg)
	if err == nil || !strings.Contains(err.Error(), "brokre") || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "budgte") {
		t.Errorf("unknown keys: %v", err)
	}
	if err := agent.LoadConfig(filepath.Join(t.TempDir(), "none"), &cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// lockedBuffer is a log that a test reads while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(part))
}
