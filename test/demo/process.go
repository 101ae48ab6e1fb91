//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// program is something that the demo runs.
type program struct {
	name  string
	log   string // file of what it says
	path  string
	args  []string
	env   []string
	grace time.Duration // from SIGTERM to SIGKILL

	cmd    *exec.Cmd
	pipe   io.Closer     // its standard input, held open
	exited chan struct{} // closed when it has ended
}

// starter starts programs from one thread that lives as long as the demo: the
// kernel ends a child when the thread that started it is gone (Pdeathsig in prctl(2)).
type starter struct {
	jobs chan func()
}

func newStarter() *starter {
	s := &starter{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// start starts p. It gets a process group of its own, so that Ctrl-C reaches the
// demo alone, which ends everything in order.
func (s *starter) start(p *program) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.pipe, err = p.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	started := make(chan error, 1)
	s.jobs <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	exited := make(chan struct{})
	p.exited = exited
	cmd := p.cmd
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(exited)
	}()
	return nil
}

// end asks p to end, and makes it when it does not in time.
func (p *program) end() {
	if p.exited == nil {
		return
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(p.grace):
		p.signal(syscall.SIGKILL)
		<-p.exited
	}
	p.pipe.Close()
}

func (p *program) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		fmt.Fprintln(os.Stderr, "demo: signal to", p.name+":", err)
	}
}

// running reports whether p has not ended.
func (p *program) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// until waits until ok, or p has ended, or a minute has passed.
func (p *program) until(ctx context.Context, what string, ok func() bool) error {
	limit := time.After(time.Minute)
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.exited:
			return fmt.Errorf("%s has ended before %s; it said at last:\n%s", p.name, what, p.said(10))
		case <-limit:
			return fmt.Errorf("%s: not in a minute: %s; its log is %s", p.name, what, p.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// said returns the last lines of p's log.
func (p *program) said(lines int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// build makes the programs: those of the product by make, as anyone would, and the boiler room.
func build(ctx context.Context, bin, boilersim string) error {
	for _, args := range [][]string{
		{"make", "--no-print-directory", "--silent", "build", "BIN=" + bin},
		{"go", "build", "-buildvcs=false", "-o", boilersim, "./test/boilersim"},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
		if out, err := cmd.CombinedOutput(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s %s: %w\n%s", args[0], args[len(args)-1], err, out)
		}
	}
	return nil
}

// checkout changes to the top of the checkout that the demo belongs to.
func checkout() error {
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("where am I: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "sites", siteLinked, "site.yaml")); err == nil {
			return os.Chdir(dir)
		}
		if filepath.Dir(dir) == dir {
			return errors.New("run it inside of the checkout: it needs sites/ and what make build builds")
		}
		dir = filepath.Dir(dir)
	}
}
