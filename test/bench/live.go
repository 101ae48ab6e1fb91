//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"tidemark/test/bench/netcount"
	"tidemark/test/bench/process"
)

// Lengths of a live run.
const (
	warmUp  = 15 * time.Second
	liveRun = 60 * time.Second
)

// line is an agent behind a counting proxy.
type line struct {
	proxy *netcount.Proxy
	agent *agentProc
}

// line starts an agent whose link to the cloud goes through a proxy. The
// returned function ends both.
func (b *bench) line(ctx context.Context, dir, profile string, cloud *cloudProc, cut bool) (*line, func() error, error) {
	proxy, err := netcount.Listen("127.0.0.1:0", cloud.mqtt)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return proxy.Run(ctx) })
	if cut {
		proxy.Cut()
	}
	end := func() error { cancel(); return g.Wait() }
	agent, err := b.agent(ctx, profile, dir, proxy.Addr())
	if err != nil {
		return nil, nil, err
	}
	return &line{proxy, agent}, func() error {
		if err := agent.stop(); err != nil {
			return err
		}
		return end()
	}, nil
}

// live measures a quiet gateway of 100 points at 1 Hz: three that send each
// second and three that send every ten, side by side.
func (b *bench) live(ctx context.Context) error {
	dir, err := b.scratch("live")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cloud, err := b.cloud(ctx, filepath.Join(dir, "cloud"))
	if err != nil {
		return err
	}
	var g errgroup.Group
	for i := range 3 {
		g.Go(func() error {
			return b.liveOne(ctx, dir, fmt.Sprintf("one-%d", i), "send: 1s", "ip_bytes_per_reading_live_1s", cloud)
		})
		g.Go(func() error {
			return b.liveOne(ctx, dir, fmt.Sprintf("ten-%d", i), "send: 10s", "ip_bytes_per_reading_live_10s", cloud)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return cloud.stop()
}

func (b *bench) liveOne(ctx context.Context, dir, name, cadence, key string, cloud *cloudProc) error {
	recording, err := b.recording(60_000)
	if err != nil {
		return err
	}
	profile, err := b.profile(name, recording, "1", "now", cadence)
	if err != nil {
		return err
	}
	l, end, err := b.line(ctx, filepath.Join(dir, name), profile, cloud, false)
	if err != nil {
		return err
	}
	if err := sleep(ctx, warmUp); err != nil {
		return err
	}
	before, used, err := l.look()
	if err != nil {
		return err
	}
	if err := sleep(ctx, liveRun); err != nil {
		return err
	}
	after, usedThen, err := l.look()
	if err != nil {
		return err
	}
	readings := liveRun.Seconds() * 100
	b.report.locked(func() {
		b.report.add(key, float64(after.Sub(before).IPBytes())/readings)
		if key == "ip_bytes_per_reading_live_1s" {
			b.report.add("flash_bytes_per_reading", float64(usedThen.Sub(used).Written)/readings)
			b.report.add("agent_rss_mib", mib(usedThen.RSS))
		}
	})
	if err := end(); err != nil {
		return err
	}
	t, err := count(ctx, cloud.nats, name)
	if err != nil {
		return err
	}
	b.report.locked(func() { b.report.sum("duplicated", float64(t.duplicated)) })
	return nil
}

func (l *line) look() (netcount.Counters, process.Usage, error) {
	u, err := l.agent.usage()
	return l.proxy.Counters(), u, err
}
