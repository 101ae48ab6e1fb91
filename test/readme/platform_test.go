package readme

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// platform is a folder in which README.md's commands find what they find in the checkout while make demo runs: bin/, sites/,
// and build/demo, the demo's state.
type platform struct {
	t    *testing.T
	dir  string
	http string // address of the demo's API
	mqtt string // of the last cloud that was started by a command
}

// newPlatform runs the demo as make demo does, with bin/ and its state in a folder of the test.
func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{t: t, dir: t.TempDir()}
	checkout, err := filepath.Abs(root)
	if err == nil {
		err = os.Symlink(filepath.Join(checkout, "sites"), filepath.Join(p.dir, "sites"))
	}
	if err != nil {
		t.Fatal(err)
	}
	demo := filepath.Join(p.dir, "demo")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", demo, "./test/demo")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pr := p.start(t, fmt.Sprintf("cd %q && exec %q -bin %q -state %q < <(exec sleep infinity)", checkout, demo, filepath.Join(p.dir, "bin"), filepath.Join(p.dir, "build/demo")))
	pr.await(t, "Ctrl-C ends all of it")
	p.http = pr.find(t, `console  http://(\S+)`)
	t.Cleanup(func() { pr.stop(t, syscall.SIGTERM) })
	return p
}

func (p *platform) command(ctx context.Context, text string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", text)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "TIDEMARK_SERVER=http://"+p.http)
	cmd.WaitDelay = time.Second
	return cmd
}

// sh runs a command to its end and returns all it printed.
func (p *platform) sh(t *testing.T, text string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	out, err := p.command(ctx, text).CombinedOutput()
	return string(out), within(ctx, err)
}

// breathe waits for the next reading of a site, after which there is something new to see.
func (p *platform) breathe(t *testing.T) {
	t.Helper()
	if out, err := p.sh(t, "bin/tidemark-agent tail -n 1 --data build/demo/hilltop-plant"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// aTrace returns the trace id of a message of the boiler room, once there is one.
func (p *platform) aTrace(t *testing.T) string {
	t.Helper()
	for end := time.Now().Add(wait); time.Now().Before(end); p.breathe(t) {
		cmd := p.command(t.Context(), "bin/tidemark messages --site harbour-boiler-room --type telemetry --json")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Messages []struct {
				TraceID string `json:"trace_id"`
			} `json:"messages"`
		}
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if n := len(r.Messages); n > 0 {
			return r.Messages[n-1].TraceID
		}
	}
	t.Fatal("the boiler room's messages did not become known")
	return ""
}

// process is a command that runs until it is stopped.
type process struct {
	cmd  *exec.Cmd
	text string
	done chan struct{}
	err  error // once done is closed

	mu  sync.Mutex
	out bytes.Buffer
	new chan struct{} // closed and made anew when something was said
}

// Write takes what the process says.
func (pr *process) Write(b []byte) (int, error) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	close(pr.new)
	pr.new = make(chan struct{})
	return pr.out.Write(b)
}

func (pr *process) said() string {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.out.String()
}

// start starts a command in a process group of its own; it ends with the test that t is.
func (p *platform) start(t *testing.T, text string) *process {
	t.Helper()
	pr := &process{cmd: p.command(context.Background(), text), text: text, done: make(chan struct{}), new: make(chan struct{})}
	pr.cmd.Stdout, pr.cmd.Stderr = pr, pr
	pr.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := pr.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	go func() { pr.err = pr.cmd.Wait(); close(pr.done) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-pr.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		<-pr.done
		if t.Failed() {
			t.Logf("%s said:\n%s", text, pr.said())
		}
	})
	return pr
}

// await waits until the process has said what.
func (pr *process) await(t *testing.T, what string) {
	t.Helper()
	timeout := time.After(wait)
	for {
		pr.mu.Lock()
		said, more := bytes.Contains(pr.out.Bytes(), []byte(what)), pr.new
		pr.mu.Unlock()
		if said {
			return
		}
		select {
		case <-more:
		case <-pr.done:
			t.Fatalf("%s ended (%v) without saying %q:\n%s", pr.text, pr.err, what, pr.said())
		case <-timeout:
			t.Fatalf("%s did not say %q within %v:\n%s", pr.text, what, wait, pr.said())
		}
	}
}

// find returns the first group of a pattern in what was said.
func (pr *process) find(t *testing.T, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(pr.said())
	if m == nil {
		t.Fatalf("%s did not say %s:\n%s", pr.text, pattern, pr.said())
	}
	return m[1]
}

// stop asks the process to end, and wants it to end well.
func (pr *process) stop(t *testing.T, by syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-pr.cmd.Process.Pid, by); err != nil {
		t.Fatalf("%s: %v", pr.text, err)
	}
	select {
	case <-pr.done:
	case <-time.After(wait):
		t.Fatalf("%s did not end by signal %v", pr.text, by)
	}
	if pr.err != nil { // nothing that ends when asked to ends badly
		t.Errorf("%s ended with %v:\n%s", pr.text, pr.err, pr.said())
	}
}
