package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"tidemark/agent"
	"tidemark/agent/control"
	"tidemark/cloud"
	"tidemark/cloud/contract"
	"tidemark/test/dataset"
)

const patience = 60 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen in %v: %s", patience, what)
		}
	}
}

// logs keeps what a part logs and shows it when the test fails.
func logs(t *testing.T, part string) *slog.Logger {
	b := &lockedBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", part, b.String())
		}
	})
	return slog.New(slog.NewTextHandler(b, nil))
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// theCloud is a running cloud.
type theCloud struct {
	t    *testing.T
	cfg  cloud.Config
	addr cloud.Addresses
	stop func()
}

// startCloud runs a cloud and returns once it listens.
func startCloud(t *testing.T, change func(*cloud.Config)) *theCloud {
	t.Helper()
	cfg := cloud.DefaultConfig()
	cfg.Dir, cfg.MQTTListen, cfg.HTTPListen, cfg.Version = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", "test"
	if change != nil {
		change(&cfg)
	}
	c := &theCloud{t: t, cfg: cfg}
	c.start()
	return c
}

func (c *theCloud) start() {
	c.t.Helper()
	ready := make(chan cloud.Addresses, 1)
	cfg := c.cfg
	cfg.Log = logs(c.t, "the cloud")
	cfg.OnReady = func(a cloud.Addresses) { ready <- a }
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	done := make(chan error, 1)
	go func() { done <- cloud.Run(ctx, cfg) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("the cloud: %v", err)
		}
	})
	c.t.Cleanup(func() { c.stop() })
	select {
	case c.addr = <-ready:
	case err := <-done:
		done <- nil
		c.t.Fatalf("the cloud ended: %v", err)
	case <-time.After(patience):
		c.t.Fatal("the cloud is not ready")
	}
}

// restart runs the same cloud at the same addresses again.
func (c *theCloud) restart() {
	c.t.Helper()
	c.stop()
	c.cfg.MQTTListen, c.cfg.HTTPListen = c.addr.MQTT, c.addr.HTTP
	c.start()
}

// get asks the API; what it cannot answer at the moment is false.
func (c *theCloud) get(path string, into any) bool {
	resp, err := http.Get("http://" + c.addr.HTTP + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return false
	}
	if err := json.Unmarshal(b, into); err != nil {
		c.t.Errorf("%s answers %s: %v", path, b, err)
		return false
	}
	return true
}

// readings returns how many a site has, -1 if that is not known at the moment.
func (c *theCloud) readings(site string) int {
	var n struct{ Readings, Bad int }
	if !c.get("/api/v1/readings/count?site="+site, &n) {
		return -1
	}
	return n.Readings
}

// gateway returns the state of a site's gateway.
func (c *theCloud) gateway(site string) (g contract.GatewayState) {
	c.get("/api/v1/gateways/"+site+"/gw-1", &g)
	return g
}

func (c *theCloud) messages(query string) []contract.MessageRow {
	var m struct{ Messages []contract.MessageRow }
	c.get("/api/v1/messages?limit=1000&"+query, &m)
	return m.Messages
}

// theAgent is a running agent.
type theAgent struct {
	t    *testing.T
	cfg  agent.Config
	http http.Client
	stop func()
}

// startAgent runs an agent for a site of the given buses.
func startAgent(t *testing.T, site, broker, buses string) *theAgent {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "site.yaml")
	text := "version: 1\nsite: " + site + "\ngateway: gw-1\ncadence: {interval: 100ms, commit: 100ms, send: 100ms, heartbeat: 5s}\nbuses:\n" + buses
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &theAgent{t: t, cfg: agent.DefaultConfig()}
	a.cfg.Profile, a.cfg.Data, a.cfg.Broker, a.cfg.Version = file, filepath.Join(dir, "d"), "mqtt://"+broker, "test"
	a.cfg.Socket = filepath.Join(dir, "s")
	a.http.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", a.cfg.Socket)
	}}
	a.start()
	return a
}

func (a *theAgent) start() {
	a.t.Helper()
	ready := make(chan struct{})
	cfg := a.cfg
	cfg.Log = logs(a.t, "the agent")
	cfg.OnReady = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.WithoutCancel(a.t.Context()))
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx, cfg) }()
	a.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			a.t.Errorf("the agent: %v", err)
		}
	})
	a.t.Cleanup(func() { a.stop() })
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		a.t.Fatalf("the agent ended: %v", err)
	}
}

// ask asks the running agent over its socket.
func (a *theAgent) ask(path string, into any) {
	a.t.Helper()
	resp, err := a.http.Get("http://agent" + path)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		a.t.Fatal(err)
	}
}

func (a *theAgent) status() (s control.Status) { a.t.Helper(); a.ask("/status", &s); return s }
func (a *theAgent) outbox() (o control.Outbox) { a.t.Helper(); a.ask("/outbox", &o); return o }
func (a *theAgent) trace(id string) (tr control.Trace) {
	a.t.Helper()
	a.ask("/trace/"+id, &tr)
	return tr
}

// replay returns a bus that replays the first n readings of the reference data
// once: settings such as "speed: max".
func replay(t *testing.T, n int, settings ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "recording.csv")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := dataset.WriteCSV(f, dataset.DefaultSeed, n); err != nil {
		t.Fatal(err)
	}
	var devices strings.Builder
	if err := dataset.WriteDevices(&devices, "      "); err != nil {
		t.Fatal(err)
	}
	return "  - name: recording\n    driver: replay\n    file: " + file + "\n    " + strings.Join(settings, "\n    ") + "\n    devices:\n" + devices.String()
}

// live is a bus that goes on for ever.
const live = "  - name: self\n    driver: host\n    devices:\n      - name: gateway\n        points:\n          - {name: uptime, metric: uptime_s}\n"

// network is the way between agent and broker, which a test can spoil.
type network struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

func newNetwork(t *testing.T, upstream string) *network {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	n := &network{t: t, proxy: toxiproxy.NewProxy(server, t.Name(), freeAddr(t), upstream)}
	n.restore()
	t.Cleanup(n.proxy.Stop)
	return n
}

func (n *network) addr() string { return n.proxy.Listen }

func (n *network) cut() { n.proxy.Stop() }

func (n *network) restore() {
	n.t.Helper()
	if err := n.proxy.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// narrow lets so many KB/s through towards the cloud.
func (n *network) narrow(rate int) {
	n.t.Helper()
	toxic := fmt.Sprintf(`{"name": "narrow", "type": "bandwidth", "stream": "upstream", "attributes": {"rate": %d}}`, rate)
	if _, err := n.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		n.t.Fatal(err)
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

// startMosquitto runs Debian's broker and returns its address.
func startMosquitto(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // Debian keeps it out of a user's PATH
		if _, err := os.Stat(path); err != nil {
			t.Fatal("mosquitto is not installed: run test/setup.sh")
		}
	}
	addr := freeAddr(t)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := "listener " + port + " " + host + "\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startServer(t, addr, path, "-c", file)
	return addr
}

// startNATS builds and runs a NATS server of its own process, with JetStream
// that flushes each write, and returns its URL.
func startNATS(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "nats-server")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/nats-io/nats-server/v2")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, b)
	}
	addr := freeAddr(t)
	file := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\nmax_payload: 8MB\njetstream { store_dir: %q, sync_interval: always }\n", addr, dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startServer(t, addr, path, "-c", file)
	return "nats://" + addr
}

// startServer runs a program that is not ours until the test ends, and returns
// once it listens at addr.
func startServer(t *testing.T, addr, path string, args ...string) {
	t.Helper()
	name := filepath.Base(path)
	out := &lockedBuffer{}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics cleans nothing up
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("end %s: %v", name, err)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("%s ended by itself", name)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, out)
		}
	})
	eventually(t, name+" listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}
