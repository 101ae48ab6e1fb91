//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidemark/protocol"
)

const patience = 3 * time.Minute // building is part of it

// running is a demo that was started as make demo does.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    lockedBuffer
	exited chan struct{}
	http   string
	state  string
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

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen in %v: %s", patience, what)
		}
	}
}

// start runs the demo without a terminal and with its standard input as given.
func start(t *testing.T, dir string, in io.Reader) *running {
	t.Helper()
	r := &running{t: t, state: filepath.Join(dir, "state"), exited: make(chan struct{})}
	program := filepath.Join(dir, "demo")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.cmd = exec.Command(program, "-state", r.state, "-bin", filepath.Join(dir, "bin"))
	r.cmd.Stdout, r.cmd.Stderr, r.cmd.Stdin = &r.out, &r.out, in
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait() // how it ended is in ProcessState
		close(r.exited)
	}()
	t.Cleanup(func() {
		r.signal(syscall.SIGTERM)
		<-r.exited
		if t.Failed() {
			t.Logf("the demo said:\n%s", r.out.String())
			logs, err := filepath.Glob(filepath.Join(r.state, "*.log"))
			for _, log := range logs {
				b, rerr := os.ReadFile(log)
				t.Logf("%s (%v):\n%s", log, errors.Join(err, rerr), b[max(0, len(b)-3000):])
			}
		}
	})
	r.says("Ctrl-C ends all of it")
	m := regexp.MustCompile(`console  http://(\S+)`).FindStringSubmatch(r.out.String())
	if m == nil {
		t.Fatal("it names no console")
	}
	r.http = m[1]
	return r
}

// says waits until the demo has said something.
func (r *running) says(what string) {
	r.t.Helper()
	eventually(r.t, "it says "+what, func() bool {
		select {
		case <-r.exited:
			r.t.Fatalf("the demo ended: %s", r.cmd.ProcessState)
		default:
		}
		return strings.Contains(r.out.String(), what)
	})
}

func (r *running) signal(s os.Signal) {
	if err := r.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.t.Errorf("signal: %v", err)
	}
}

func (r *running) get(path string, into any) bool {
	resp, err := http.Get("http://" + r.http + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(into) == nil
}

func (r *running) readings(site string) int {
	var n struct{ Readings int }
	r.get("/api/v1/readings/count?site="+site, &n)
	return n.Readings
}

type gateway struct {
	Online  bool
	Session uint64
	Epochs  []struct {
		Ranges  string
		Dropped []any
	}
}

func (r *running) gateway(site string) (g gateway) {
	r.get("/api/v1/gateways/"+site+"/gw-1", &g)
	return g
}

// children returns what the demo runs, by process id.
func (r *running) children() (pids []int) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				r.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// gone reports whether a process has ended; one whose parent has not asked for its end has too.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(b, []byte(") Z "))
}

func TestDemo(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	resp, err := http.Get("http://" + r.http + "/")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the console answers %s: %s (%v)", resp.Status, page, err)
	}
	for _, site := range []string{siteSerial, siteLinked} {
		eventually(t, site+" is online and sends", func() bool { return r.gateway(site).Online && r.readings(site) > 50 })
	}
	var series struct {
		Series []struct{ Point, Quality string }
	}
	eventually(t, "the boiler room is read over its serial port", func() bool {
		r.get("/api/v1/series?site="+siteSerial, &series)
		for _, s := range series.Series {
			if s.Point == "boiler.boiler_temp" {
				return true
			}
		}
		return false
	})
	if n := len(r.children()); n != 4 {
		t.Errorf("%d processes run, want cloud, boiler room and two agents", n)
	}

	r.signal(syscall.SIGUSR1)
	r.says("is cut")
	eventually(t, "the cloud sees the cut", func() bool { return !r.gateway(siteLinked).Online })
	before := r.readings(siteSerial)
	eventually(t, "the other site goes on", func() bool { return r.readings(siteSerial) > before+20 })
	r.signal(syscall.SIGUSR1)
	r.says("is restored")
	r.says("has caught up")

	agents := r.children()
	r.signal(syscall.SIGUSR2)
	r.says("got SIGKILL")
	eventually(t, "the cloud sees it go", func() bool { return !r.gateway(siteLinked).Online })
	r.says("is back")
	eventually(t, "it sends again", func() bool { return r.gateway(siteLinked).Online })
	eventually(t, "there is no hole in its tidemark", func() bool {
		g := r.gateway(siteLinked)
		if len(g.Epochs) != 1 || len(g.Epochs[0].Dropped) != 0 {
			t.Fatalf("the gateway is %+v", g)
		}
		have, err := protocol.ParseSet(g.Epochs[0].Ranges)
		return err == nil && len(have.Ranges()) == 1
	})
	agents = append(agents, r.children()...)

	r.signal(os.Interrupt)
	select {
	case <-r.exited:
	case <-time.After(patience):
		t.Fatal("Ctrl-C does not end it")
	}
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it exits %d", code)
	}
	for _, pid := range agents {
		if !gone(pid) {
			t.Errorf("process %d outlives the demo", pid)
		}
	}

	t.Run("killed, it takes everything with it", func(t *testing.T) {
		in, keys, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		r := start(t, dir, in) // on the state of before
		if _, err := io.WriteString(keys, "c\nnonsense\n"); err != nil {
			t.Fatal(err)
		}
		keys.Close()
		r.says("is cut")
		r.says("\"nonsense\" is no key")
		pids := r.children()
		r.signal(syscall.SIGKILL)
		<-r.exited
		for _, pid := range pids {
			eventually(t, fmt.Sprintf("process %d ends", pid), func() bool { return gone(pid) })
		}
	})
}
