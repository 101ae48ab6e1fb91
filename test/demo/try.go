//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tidemark/agent/control"
)

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, format+"\n", args...)
}

// introduce says where to look and what to try.
func (d *demo) introduce() {
	server := ""
	if d.http != "127.0.0.1:8080" {
		server = " --server http://" + d.http
	}
	agent, cli := filepath.Join(d.bin, "tidemark-agent"), filepath.Join(d.bin, "tidemark")
	data := d.dataOf(siteLinked)
	d.say(`
Tidemark runs: a cloud and two sites. State and logs are in %s.

  console  http://%s
  API      http://%s/api/docs

Three things to try:

  1. Cut the link of %s: c and Enter, or kill -USR1 %d. Its agent goes on collecting:
       %s status --data %s
     c and Enter again restores it.
  2. Kill its agent: k and Enter, or kill -USR2 %d. It gets SIGKILL, and is started again after %s.
  3. Watch it reconcile, in the console or with:
       %s gateways%s

Ctrl-C ends all of it.
`, d.state, d.http, d.http, siteLinked, os.Getpid(), agent, data, os.Getpid(), restartAfter, cli, server)
}

// do does what a key says.
func (d *demo) do(ctx context.Context, key string) error {
	switch key {
	case "c":
		return d.toggle(ctx)
	case "k":
		d.kill()
	case "":
	default:
		d.say("%.20q is no key: c cuts or restores the link, k kills the agent, q ends", key)
	}
	return nil
}

func (d *demo) toggle(ctx context.Context) error {
	if !d.cut {
		d.unwatch()
		d.link.Cut()
		d.cut = true
		d.say("the link of %s is cut; its agent goes on collecting (c restores the link)", siteLinked)
		return nil
	}
	if err := d.link.Restore(); err != nil {
		return fmt.Errorf("restore the link of %s: %w", siteLinked, err)
	}
	d.cut = false
	d.say("the link of %s is restored", siteLinked)
	if d.back == nil {
		d.watch(ctx)
	}
	return nil
}

func (d *demo) kill() {
	if d.back != nil {
		d.say("the agent of %s is dead already, and will be back soon", siteLinked)
		return
	}
	d.unwatch()
	p := d.agents[siteLinked]
	p.signal(syscall.SIGKILL)
	<-p.exited
	p.pipe.Close()
	d.back = time.After(restartAfter)
	d.say("the agent of %s got SIGKILL; it is started again in %s", siteLinked, restartAfter)
}

// watch says when the cloud has all that the agent had committed until now.
func (d *demo) watch(ctx context.Context) {
	d.unwatch()
	ctx, d.stopWatching = context.WithCancel(ctx)
	began := time.Now()
	go func() {
		var target uint64
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			s, err := d.status(ctx, siteLinked)
			if err != nil {
				continue
			}
			if target == 0 {
				target = s.Outbox.NextSeq
			}
			if first := s.Outbox.NextSeq - min(s.Outbox.Depth, s.Outbox.NextSeq); s.Link.Online && first >= target {
				d.changes <- fmt.Sprintf("%s has caught up after %.1f s: the cloud has every message up to %d, %d were lost",
					siteLinked, time.Since(began).Seconds(), target-1, s.Outbox.Dropped)
				tick.Stop()
				return
			}
		}
	}()
}

func (d *demo) unwatch() {
	if d.stopWatching != nil {
		d.stopWatching()
	}
}

// status asks the agent of a site over its socket.
func (d *demo) status(ctx context.Context, site string) (s control.Status, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(d.dataOf(site), "agent.sock"))
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}
