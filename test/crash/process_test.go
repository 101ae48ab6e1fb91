package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidemark/agent/control"
)

// process is a running program.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	log    *tail
	exited chan struct{}
	asked  bool // to end, by us
}

// tail keeps the end of what a program says.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if n := len(l.b) - 64<<10; n > 0 {
		l.b = l.b[n:]
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

func (l *tail) has(s string) bool { return l.count(s) > 0 }

func (l *tail) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b, []byte(s))
}

// start runs a program; it is killed when the test ends.
func start(t *testing.T, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(path), log: &tail{}, exited: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }() // how it ended is read from ProcessState
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said at last:\n%s", p.name, p.log)
		}
	})
	return p
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill ends it with SIGKILL.
func (p *process) kill() {
	p.asked = true
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// stop ends it as an operator would.
func (p *process) stop() {
	p.t.Helper()
	p.asked = true
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		p.t.Errorf("%s did not stop within 30 s", p.name)
		p.kill()
	}
}

// mustRun fails the test if the process ended by itself.
func (p *process) mustRun() {
	p.t.Helper()
	if !p.running() && !p.asked {
		p.t.Fatalf("%s ended by itself (%v):\n%s", p.name, p.cmd.ProcessState, p.log)
	}
}

// freePort returns a port outside the range from which the system gives ports to clients, so that it is still free when a
// killed process comes back to it.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port on loopback")
	return ""
}

func dials(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// cloud is a cloud process that can be started again.
type cloud struct {
	*process
	dir, mqtt, http, nats string
	more                  []string
}

func newCloud(t *testing.T, dir string, more ...string) *cloud {
	return &cloud{dir: dir, mqtt: freePort(t), http: freePort(t), nats: freePort(t), more: more}
}

func (c *cloud) start(t *testing.T) {
	t.Helper()
	c.process = start(t, filepath.Join(bin, "tidemark-cloud"), append([]string{"--data", c.dir, "--mqtt-listen", c.mqtt,
		"--http-listen", c.http, "--nats-listen", c.nats, "--quiet"}, c.more...)...)
}

// up waits until it serves.
func (c *cloud) up(t *testing.T) {
	t.Helper()
	until(t, 60*time.Second, "the cloud listens", func() bool {
		c.mustRun()
		return dials(c.http) && (c.nats == "" || dials(c.nats))
	})
}

// metric returns the value of a counter; 0 while the process does not answer.
func (c *cloud) metric(name string) float64 {
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get("http://" + c.http + "/metrics")
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, _ := strconv.ParseFloat(rest, 64) // no number: 0
			return v
		}
	}
	return 0
}

// get asks the API.
func (c *cloud) get(path string, v any) error {
	client := http.Client{Timeout: 30 * time.Second}
	r, err := client.Get("http://" + c.http + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(r.Body, 1000))
		return fmt.Errorf("%s: %s: %s", path, r.Status, text)
	}
	return json.NewDecoder(r.Body).Decode(v)
}

// agentProcess is a running agent.
type agentProcess struct {
	*process
	client http.Client
}

func startAgent(t *testing.T, profile, data, broker string, more ...string) *agentProcess {
	t.Helper()
	return startAgentFrom(t, filepath.Join(bin, "tidemark-agent"), profile, data, broker, more...)
}

// startAgentFrom starts an agent of another build.
func startAgentFrom(t *testing.T, binary, profile, data, broker string, more ...string) *agentProcess {
	t.Helper()
	socket := filepath.Join(filepath.Dir(profile), "agent.sock")
	a := &agentProcess{process: start(t, binary, append([]string{"run", "--profile", profile, "--data", data,
		"--socket", socket, "--broker", "mqtt://" + broker, "--quiet"}, more...)...)}
	a.client = http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}}}
	return a
}

func (a *agentProcess) ask(path string, v any) error {
	r, err := a.client.Get("http://agent" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, r.Status)
	}
	return json.NewDecoder(r.Body).Decode(v)
}

// status asks the agent; the highest seq that it says is committed is Outbox.NextSeq-1.
func (a *agentProcess) status() (s control.Status, err error) { return s, a.ask("/status", &s) }
