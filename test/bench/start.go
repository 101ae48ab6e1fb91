//go:build linux

package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"tidemark/agent/control"
	"tidemark/protocol"
)

// start measures how soon agent and cloud are of use, and what the cloud takes idle.
func (b *bench) start(ctx context.Context) error {
	dir, err := b.scratch("start")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	cloud, err := b.cloud(ctx, filepath.Join(dir, "cloud"))
	if err != nil {
		return err
	}
	err = cloud.until(ctx, time.Millisecond, func() (bool, error) {
		r, err := http.Get("http://" + cloud.http + "/healthz")
		if err != nil {
			return false, nil
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK, nil
	})
	if err != nil {
		return err
	}
	b.report.add("cloud_start_s", time.Since(began).Seconds())
	if err := b.agentStart(ctx, dir, cloud); err != nil {
		return err
	}
	if err := sleep(ctx, 10*time.Second); err != nil {
		return err
	}
	u, err := cloud.usage()
	if err != nil {
		return err
	}
	b.report.add("cloud_rss_mib", mib(u.RSS))
	return cloud.stop()
}

// agentStart takes the time from exec to the first committed reading, asking
// the agent itself where the messages behind its first event are.
func (b *bench) agentStart(ctx context.Context, dir string, cloud *cloudProc) error {
	recording, err := b.recording(60_000)
	if err != nil {
		return err
	}
	profile, err := b.profile("start", recording, "1", "now", "")
	if err != nil {
		return err
	}
	began := time.Now()
	agent, err := b.agent(ctx, profile, filepath.Join(dir, "agent"), cloud.mqtt)
	if err != nil {
		return err
	}
	err = agent.until(ctx, time.Millisecond, func() (bool, error) {
		var o control.Outbox
		if agent.ask("/outbox", &o) != nil {
			return false, nil
		}
		epoch, err := protocol.ParseEpoch(o.Epoch)
		if err != nil {
			return false, err
		}
		for seq := uint64(1); seq < o.NextSeq; seq++ {
			var t control.Trace
			if err := agent.ask("/trace/"+protocol.TraceIDOf(epoch, seq).String(), &t); err != nil {
				return false, err
			}
			if t.Type == "telemetry" {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	b.report.add("agent_start_s", time.Since(began).Seconds())
	return agent.stop()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
