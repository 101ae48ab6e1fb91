//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tidemark/agent/control"
	"tidemark/agent/outbox"
	"tidemark/protocol"
	"tidemark/test/dataset"
)

// drain measures a gateway that comes back with a backlog as it grows at 1 Hz:
// a message a second, each with one scan of 100 points.
func (b *bench) drain(ctx context.Context) error {
	dir, err := b.scratch("drain")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "agent")
	n := uint64(b.backlog / len(dataset.Tags))
	if err := b.fill(ctx, data, n); err != nil {
		return err
	}
	disk, held, err := diskBytes(data)
	if err != nil {
		return err
	}
	b.report.notes["disk_bytes_per_reading"] = fmt.Sprintf("messages and state; besides, the outbox holds %.1f MiB free for a full disk, whatever its depth (with that, %.2f)",
		mib(uint64(held)), float64(disk+held)/float64(b.backlog))
	b.report.add("disk_bytes_per_reading", float64(disk)/float64(b.backlog))
	cloud, err := b.cloud(ctx, filepath.Join(dir, "cloud"), "--roles", "receiver")
	if err != nil {
		return err
	}
	recording, err := b.recording(60_000)
	if err != nil {
		return err
	}
	profile, err := b.profile("drain", recording, "1", "now", "")
	if err != nil {
		return err
	}
	started := time.Now()
	l, end, err := b.line(ctx, data, profile, cloud, true)
	if err != nil {
		return err
	}
	if err := sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	if err := b.measureDrain(ctx, l, n); err != nil {
		return err
	}
	drained := time.Now()
	if err := sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	if err := end(); err != nil {
		return err
	}
	t, err := count(ctx, cloud.nats, "drain")
	if err != nil {
		return err
	}
	b.bookDrain(t, started, drained)
	return cloud.stop()
}

func (b *bench) measureDrain(ctx context.Context, l *line, n uint64) error {
	before := l.proxy.Counters()
	if err := l.proxy.Restore(); err != nil {
		return err
	}
	var up time.Time
	var rss uint64
	err := l.agent.until(ctx, 5*time.Millisecond, func() (bool, error) {
		if u, err := l.agent.usage(); err == nil {
			rss = max(rss, u.RSS)
		}
		if up.IsZero() {
			s, err := l.agent.status()
			if err != nil || !s.Link.Online {
				return false, err
			}
			up = time.Now().Add(-time.Duration(s.Link.SinceMs) * time.Millisecond)
		}
		var o control.Outbox
		if err := l.agent.ask("/outbox", &o); err != nil {
			return false, err
		}
		have, err := protocol.ParseSet(o.Committed)
		return err == nil && have.ContainsAll(1, n), err
	})
	if err != nil {
		return err
	}
	b.report.add("drain_s", time.Since(up).Seconds())
	b.report.add("agent_rss_backlog_mib", mib(rss))
	b.report.add("ip_bytes_per_reading_backlog", float64(l.proxy.Counters().Sub(before).IPBytes())/float64(b.backlog))
	return nil
}

// bookDrain counts the backlog, and the age of what was read while it drained
// and in the seconds after.
func (b *bench) bookDrain(t *tally, started, drained time.Time) {
	backlog := 0
	for k := range t.seen {
		if k.at < started.UnixMilli() {
			backlog++
		}
	}
	b.report.sum("lost", float64(max(b.backlog-backlog, 0)))
	b.report.sum("duplicated", float64(t.duplicated))
	var fresh []float64
	for _, a := range t.ages {
		if a.at >= drained.Add(-2*time.Second).UnixMilli() {
			fresh = append(fresh, a.seconds)
		}
	}
	if len(fresh) > 0 {
		slices.Sort(fresh)
		b.report.add("fresh_p95_s", fresh[(len(fresh)*95-1)/100])
	}
}

// fill makes an outbox of n one-scan messages, as a sampler with a commit each
// second makes them, ending now.
func (b *bench) fill(ctx context.Context, dir string, n uint64) error {
	box, err := outbox.Open(ctx, outbox.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- box.Run(runCtx) }()
	err = appendSweeps(ctx, box, n)
	stop()
	return errors.Join(err, <-ran, box.Close())
}

func appendSweeps(ctx context.Context, box *outbox.Outbox, n uint64) error {
	gen := dataset.NewGen(dataset.DefaultSeed)
	shift := time.Now().UnixMilli() - int64(n)*1000 - 10_000 - dataset.BaseMs
	var builder *protocol.Builder
	times := make([]int64, len(dataset.Tags))
	readings := make([]protocol.Reading, len(dataset.Tags))
	for i := range n {
		for k, r := range gen.Sweep() {
			times[k] = r.TsMs + shift
			readings[k] = protocol.Reading{Value: protocol.FloatValue(r.F)}
			if r.IsInt {
				readings[k].Value = protocol.IntValue(r.I)
			}
		}
		if builder == nil {
			schema, err := schemaOf(readings)
			if err != nil {
				return err
			}
			builder = protocol.NewBuilder(schema)
		}
		if err := builder.Add(times, readings); err != nil {
			return err
		}
		m := &protocol.Message{Type: protocol.TypeTelemetry, Time: times[len(times)-1] + 5, Boot: 1, Mono: 1_000_000 + i*1000, Clock: protocol.ClockSynced}
		var err error
		if m.Body, err = builder.Body(m.Time); err != nil {
			return err
		}
		builder.Reset()
		ticket, err := box.Append(ctx, m, builder.Schema(), true)
		if err == nil {
			err = ticket.Wait(ctx) // a commit for each message, as at 1 Hz
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// schemaOf makes the schema with the transforms of the data set's registers.
func schemaOf(first []protocol.Reading) (*protocol.Schema, error) {
	points := make([]protocol.Point, len(dataset.Tags))
	groups := make([]int, len(dataset.Tags))
	for i := range dataset.Tags {
		t := &dataset.Tags[i]
		h := t.Hint()
		points[i] = protocol.Point{Name: t.Device + "." + t.Point, Unit: h.Unit, Scale: protocol.Scale{Num: h.Num, Den: h.Den, Offset: h.Offset, Float32: h.Type == "float32"}}
		if t.IsInt {
			points[i].Kind, points[i].Base = protocol.Int, first[i].Value.Int()
		} else {
			points[i].Base, _ = points[i].Scale.Raw(first[i].Value.Float()) // none: 0
		}
		groups[i] = 1
	}
	return protocol.NewSchema(points, groups)
}
