//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"tidemark/agent/control"
	"tidemark/test/bench/process"
	"tidemark/test/dataset"
)

// build makes the binaries that are measured.
func (b *bench) build(ctx context.Context) error {
	b.bin = filepath.Join(b.dir, "bin")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.bin+"/", "./agent/cmd/tidemark-agent", "./cloud/cmd/tidemark-cloud")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	return nil
}

// child is a running process.
type child struct {
	cmd    *exec.Cmd
	exited chan error
}

func (b *bench) spawn(ctx context.Context, name string, args ...string) (*child, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stderr = &log
	if b.verbose {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, exited: make(chan error, 1)}
	go func() {
		err := cmd.Wait()
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%s: %w\n%s", name, err, log.String())
		}
		c.exited <- err
	}()
	return c, nil
}

// stop ends a process as an operator would.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-c.exited:
		return err
	case <-time.After(30 * time.Second):
		if err := c.cmd.Process.Kill(); err != nil {
			return err
		}
		return errors.New("a process did not stop within 30 s and was killed")
	}
}

func (c *child) usage() (process.Usage, error) { return process.Read(c.cmd.Process.Pid) }

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// cloudProc is a running cloud.
type cloudProc struct {
	*child
	mqtt, http, nats string
}

func (b *bench) cloud(ctx context.Context, dir string, args ...string) (*cloudProc, error) {
	c := &cloudProc{}
	for _, a := range []*string{&c.mqtt, &c.http, &c.nats} {
		var err error
		if *a, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	args = append([]string{"--data", dir, "--mqtt-listen", c.mqtt, "--http-listen", c.http, "--nats-listen", c.nats}, args...)
	if !b.verbose {
		args = append(args, "--quiet")
	}
	var err error
	if c.child, err = b.spawn(ctx, "tidemark-cloud", args...); err != nil {
		return nil, err
	}
	return c, c.until(ctx, time.Millisecond, func() (bool, error) { return dials(c.mqtt) && dials(c.nats), nil })
}

func dials(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// until asks at an interval until the answer is yes, and fails if the process ends.
func (c *child) until(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case err := <-c.exited:
			c.exited <- err
			return fmt.Errorf("a process ended early: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// agentProc is a running agent.
type agentProc struct {
	*child
	data, socket string
	client       *http.Client
}

func (b *bench) agent(ctx context.Context, profile, data, broker string) (*agentProc, error) {
	a := &agentProc{data: data, socket: filepath.Join(data, "agent.sock")}
	a.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", a.socket)
	}}}
	args := []string{"run", "--profile", profile, "--data", data, "--broker", "mqtt://" + broker}
	if !b.verbose {
		args = append(args, "--quiet")
	}
	var err error
	a.child, err = b.spawn(ctx, "tidemark-agent", args...)
	return a, err
}

func (a *agentProc) ask(path string, v any) error {
	r, err := a.client.Get("http://agent" + path)
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

func (a *agentProc) status() (s control.Status, err error) { return s, a.ask("/status", &s) }

// idle waits until the agent has sent all that it reads: for half a second it
// has queued nothing more, and the cloud has acknowledged everything.
func (a *agentProc) idle(ctx context.Context) error {
	var next uint64
	since := time.Now()
	return a.until(ctx, 20*time.Millisecond, func() (bool, error) {
		s, err := a.status()
		if err != nil {
			return false, nil // not up yet
		}
		if s.Outbox.NextSeq != next || s.Outbox.Depth != 0 {
			next, since = s.Outbox.NextSeq, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond, nil
	})
}

// recording writes n readings of the data set as CSV.
func (b *bench) recording(n int) (string, error) {
	path := filepath.Join(b.dir, fmt.Sprintf("recording-%d.csv", n))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	err = dataset.WriteCSV(f, dataset.DefaultSeed, n)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return path, err
}

// profile writes a profile that replays a recording.
func (b *bench) profile(name, recording, speed, at, cadence string) (string, error) {
	var p bytes.Buffer
	fmt.Fprintf(&p, "version: 1\nsite: bench\ngateway: %s\n", name)
	if cadence != "" {
		fmt.Fprintf(&p, "cadence: {%s}\n", cadence)
	}
	fmt.Fprintf(&p, "buses:\n  - name: recording\n    driver: replay\n    file: %s\n    speed: %s\n    at: %s\n    devices:\n", recording, speed, at)
	if err := dataset.WriteDevices(&p, "      "); err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, name+".yaml")
	return path, os.WriteFile(path, p.Bytes(), 0o644)
}

func (b *bench) scratch(name string) (string, error) {
	return os.MkdirTemp(b.dir, name+"-")
}

// reserve is the file by which an outbox holds room for a full disk: of one
// size, whatever the outbox holds.
const reserve = "outbox.reserve"

// diskBytes returns what the files of a folder take, and the reserve besides.
func diskBytes(dir string) (n, held int64, err error) {
	err = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		if info.Name() == reserve {
			held = info.Size()
			return nil
		}
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return n, held, err
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }
