package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// fixed is an agent that answers the same each time.
type fixed struct {
	readings chan []Reading
	watchers atomic.Int32
}

func (*fixed) Status() Status { return Status{Site: "s", Gateway: "g", Outbox: Depth{Depth: 7}} }
func (*fixed) Outbox() Outbox { return Outbox{Committed: "1-6"} }
func (*fixed) Trace(id string) (Trace, error) {
	if id != "abc" {
		return Trace{}, errors.New("it is no trace id")
	}
	return Trace{TraceID: id, State: "committed"}, nil
}

func (f *fixed) Tail(ch chan<- []Reading) func() {
	f.watchers.Add(1)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case r := <-f.readings:
				ch <- r
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended; f.watchers.Add(-1) }
}

// serve runs a server until the test ends, or until stop is called.
func serve(t *testing.T, path string, a Agent) (stop func()) {
	t.Helper()
	s, err := Listen(path, a, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func client(t *testing.T, path string) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(t *testing.T, c *http.Client, path string) (int, string) {
	t.Helper()
	resp, err := c.Get("http://agent" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "agent.sock")
	serve(t, path, &fixed{})
	c := client(t, path)
	for ask, want := range map[string]struct {
		code int
		part string
	}{
		"/status":    {200, `"depth":7`},
		"/outbox":    {200, `"committed":"1-6"`},
		"/trace/abc": {200, `"state":"committed"`},
		"/trace/xyz": {400, "it is no trace id"},
		"/nothing":   {404, ""},
	} {
		if code, body := get(t, c, ask); code != want.code || !strings.Contains(body, want.part) {
			t.Errorf("%s: %d %s, want %d and %q", ask, code, body, want.code, want.part)
		}
	}
	if resp, err := c.Post("http://agent/status", "text/plain", strings.NewReader("x")); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o007 != 0 {
		t.Errorf("others may open the socket: %v %v", st.Mode(), err)
	}
}

func TestSocketOfADeadAgentIsTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as after a SIGKILL
	dead.Close()
	stop := serve(t, path, &fixed{})
	if code, _ := get(t, client(t, path), "/status"); code != 200 {
		t.Errorf("status answers %d", code)
	}
	if _, err := Listen(path, &fixed{}, quiet); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second agent on the socket: %v", err)
	}
	stop()
	serve(t, path, &fixed{})
}

func TestSocketThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, part string }{
		"a folder that is a file": {filepath.Join(dir, "file", "agent.sock"), "folder"},
		"a path that is too long": {filepath.Join(dir, strings.Repeat("x", 120), "agent.sock"), "shorter"},
	} {
		if _, err := Listen(c.path, &fixed{}, quiet); err == nil || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	f := &fixed{readings: make(chan []Reading)}
	stop := serve(t, path, f)
	c := client(t, path)
	resp, err := c.Get("http://agent/tail")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		f.readings <- []Reading{{Point: "d.x", Value: i, Quality: "good"}, {Point: "d.y", Quality: "bad", Reason: "timeout"}}
		for _, want := range []string{"d.x", "d.y"} {
			var r Reading
			if !lines.Scan() {
				t.Fatalf("the stream ended: %v", lines.Err())
			}
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil || r.Point != want {
				t.Errorf("line %s (%v), want point %s", lines.Text(), err, want)
			}
		}
	}
	resp.Body.Close() // a watcher that leaves is forgotten
	for end := time.Now().Add(10 * time.Second); f.watchers.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a watcher that left is still served")
		}
	}
	resp, err = c.Get("http://agent/tail")
	if err != nil {
		t.Fatal(err)
	}
	stop() // and one that stays does not hold the agent up
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Log("the stream ended in order")
	}
	resp.Body.Close()
}
