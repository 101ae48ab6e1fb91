//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tidemark/test/bench/netcount"
)

// The sites: one has a boiler room on a serial port, one a link that can be cut.
const (
	siteSerial = "harbour-boiler-room"
	siteLinked = "hilltop-plant"
)

// restartAfter is how long a killed agent stays away.
const restartAfter = 5 * time.Second

// demo is the running demo.
type demo struct {
	state, bin string
	in         io.Reader
	out        io.Writer

	starter      *starter
	cloud, sim   *program
	agents       map[string]*program
	link         *netcount.Proxy
	cut          bool
	mqtt, http   string           // addresses
	back         <-chan time.Time // when the killed agent is to be started again
	changes      chan string      // what watchers have seen
	stopWatching context.CancelFunc
}

// run starts everything and obeys until ctx is done.
func (d *demo) run(ctx context.Context) error {
	if err := checkout(); err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	if err := os.MkdirAll(d.state, 0o750); err != nil {
		return fmt.Errorf("folder of state: %w", err)
	}
	d.say("building; the first time takes a minute or two …")
	sim := filepath.Join(d.state, "boilersim")
	if err := build(ctx, d.bin, sim); err != nil {
		return quietly(err)
	}
	d.starter, d.agents, d.changes = newStarter(), map[string]*program{}, make(chan string, 8)
	defer d.endAll()
	if err := d.startAll(ctx, sim); err != nil {
		return quietly(err)
	}
	d.introduce()
	return quietly(d.obey(ctx, signals))
}

// quietly makes an error of a wanted end none.
func quietly(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (d *demo) startAll(ctx context.Context, sim string) error {
	if err := d.startCloud(ctx); err != nil {
		return err
	}
	var err error
	if d.link, err = netcount.Listen("127.0.0.1:0", d.mqtt); err != nil {
		return fmt.Errorf("link of %s: %w", siteLinked, err)
	}
	go func() {
		if err := d.link.Run(context.WithoutCancel(ctx)); err != nil {
			d.changes <- "the link of " + siteLinked + " ended: " + err.Error()
		}
	}()
	port := filepath.Join(d.state, "boiler-room")
	d.sim = &program{name: "boilersim", log: d.logOf("boilersim"), path: sim, args: []string{"-link", port}, grace: 2 * time.Second}
	if err := os.Remove(port); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("link to the port of the boiler room: %w", err)
	}
	if err := d.starter.start(d.sim); err != nil {
		return err
	}
	if err := d.sim.until(ctx, "its port is there", func() bool { _, err := os.Stat(port); return err == nil }); err != nil {
		return err
	}
	if err := d.startAgent(ctx, siteSerial, d.mqtt, "TIDEMARK_PORT="+port); err != nil {
		return err
	}
	return d.startAgent(ctx, siteLinked, d.link.Addr())
}

// startCloud starts the cloud at its usual addresses, or at free ones where those are taken.
func (d *demo) startCloud(ctx context.Context) error {
	d.mqtt, d.http = usual("127.0.0.1:1883"), usual("127.0.0.1:8080")
	d.cloud = &program{name: "tidemark-cloud", log: d.logOf("cloud"), path: filepath.Join(d.bin, "tidemark-cloud"), grace: 15 * time.Second,
		args: []string{"--data", filepath.Join(d.state, "cloud"), "--mqtt-listen", d.mqtt, "--http-listen", d.http, "--rules", "sites/rules", "--quiet"}}
	if err := d.starter.start(d.cloud); err != nil {
		return err
	}
	return d.cloud.until(ctx, "it answers", func() bool {
		resp, err := http.Get("http://" + d.http + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// usual returns addr if it is free, else one that is.
func usual(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return addr // whoever tries it says what is wrong
		}
	}
	defer l.Close()
	return l.Addr().String()
}

func (d *demo) startAgent(ctx context.Context, site, broker string, env ...string) error {
	p := &program{name: "the agent of " + site, log: d.logOf(site), path: filepath.Join(d.bin, "tidemark-agent"), env: env, grace: 5 * time.Second,
		args: []string{"run", "--profile", filepath.Join("sites", site, "site.yaml"), "--data", d.dataOf(site), "--broker", "mqtt://" + broker}}
	d.agents[site] = p
	if err := d.starter.start(p); err != nil {
		return err
	}
	return p.until(ctx, "it answers", func() bool { _, err := d.status(ctx, site); return err == nil })
}

func (d *demo) logOf(name string) string  { return filepath.Join(d.state, name+".log") }
func (d *demo) dataOf(site string) string { return filepath.Join(d.state, site) }

// endAll ends everything in the order of the path, so that the last readings still arrive.
func (d *demo) endAll() {
	d.unwatch()
	for _, p := range d.agents {
		p.end()
	}
	for _, p := range []*program{d.sim, d.cloud} {
		if p != nil {
			p.end()
		}
	}
	d.say("everything has ended; what it kept is in %s", d.state)
}

// obey does what keys and signals say until ctx is done.
func (d *demo) obey(ctx context.Context, signals <-chan os.Signal) error {
	keys := d.keys()
	parent := time.NewTicker(time.Second)
	defer parent.Stop()
	started := os.Getppid()
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-signals:
			if err := d.do(ctx, map[os.Signal]string{syscall.SIGUSR1: "c", syscall.SIGUSR2: "k"}[s]); err != nil {
				return err
			}
		case key, ok := <-keys:
			if !ok {
				keys = nil // no keys any more; signals still come
				continue
			}
			if key == "q" {
				return nil
			}
			if err := d.do(ctx, key); err != nil {
				return err
			}
		case <-d.back:
			d.back = nil
			if err := d.startAgent(ctx, siteLinked, d.link.Addr()); err != nil {
				return err
			}
			d.say("the agent of %s is back", siteLinked)
			d.watch(ctx)
		case what := <-d.changes:
			d.say("%s", what)
		case <-parent.C:
			if started != 1 && os.Getppid() != started {
				return nil // go run or make was ended: they pass no signal on
			}
			if err := d.check(); err != nil {
				return err
			}
		}
	}
}

// keys returns the lines of standard input, closed at its end.
func (d *demo) keys() <-chan string {
	ch := make(chan string)
	go func() { // ends with the process: a read of a terminal cannot be called off
		defer close(ch)
		lines := bufio.NewScanner(d.in)
		for lines.Scan() {
			ch <- strings.ToLower(strings.TrimSpace(lines.Text()))
		}
	}()
	return ch
}

// check reports a program that has ended unasked.
func (d *demo) check() error {
	for _, p := range []*program{d.cloud, d.sim, d.agents[siteSerial], d.agents[siteLinked]} {
		if !p.running() && !(p == d.agents[siteLinked] && d.back != nil) {
			return fmt.Errorf("%s has ended; it said at last:\n%s", p.name, p.said(10))
		}
	}
	return nil
}
