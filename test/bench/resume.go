//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"tidemark/test/bench/peer"
)

// silence is how long the link is cut before its return is timed.
const silence = 2 * time.Minute

// resume times the first ack after a long silence.
func (b *bench) resume(ctx context.Context) error {
	dir, err := b.scratch("resume")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cloud, err := b.cloud(ctx, filepath.Join(dir, "cloud"), "--roles", "receiver")
	if err != nil {
		return err
	}
	recording, err := b.recording(60_000)
	if err != nil {
		return err
	}
	profile, err := b.profile("resume", recording, "1", "now", "")
	if err != nil {
		return err
	}
	l, end, err := b.line(ctx, filepath.Join(dir, "agent"), profile, cloud, false)
	if err != nil {
		return err
	}
	online := func() (bool, error) {
		s, err := l.agent.status()
		return err == nil && s.Link.Online && s.Link.Acks > 0, nil
	}
	if err := l.agent.until(ctx, 5*time.Millisecond, online); err != nil {
		return err
	}
	l.proxy.Cut()
	if err := sleep(ctx, silence); err != nil {
		return err
	}
	began := time.Now()
	if err := l.proxy.Restore(); err != nil {
		return err
	}
	if err := l.agent.until(ctx, 5*time.Millisecond, online); err != nil {
		return err
	}
	b.report.add("resume_s", time.Since(began).Seconds())
	if err := end(); err != nil {
		return err
	}
	t, err := count(ctx, cloud.nats, "resume")
	if err != nil {
		return err
	}
	b.report.sum("duplicated", float64(t.duplicated))
	return cloud.stop()
}

// peer measures Mosquitto bridging to Mosquitto.
func (b *bench) peer(ctx context.Context) error {
	dir, err := b.scratch("peer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r, err := peer.Run(ctx, peer.Default(dir, 20260101))
	if err != nil {
		return err
	}
	for key, v := range map[string]float64{
		"e2e_readings_per_s": r.E2EReadingsPerS, "agent_cpu_s_per_million": r.CPUSPerMillion, "flash_bytes_per_reading": r.FlashBytes,
		"ip_bytes_per_reading_live_1s": r.IPBytesLive1s, "ip_bytes_per_reading_live_10s": r.IPBytesLive10s,
		"ip_bytes_per_reading_backlog": r.IPBytesBacklog, "drain_s": r.DrainS, "resume_s": r.ResumeS,
		"agent_rss_mib": r.RSSMiB, "agent_rss_backlog_mib": r.RSSBacklogMiB, "lost": float64(r.Lost), "duplicated": float64(r.Duplicated),
	} {
		b.report.add("peer_"+key, v)
	}
	return nil
}
