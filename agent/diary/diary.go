package diary

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"tidemark/agent/clock"
	"tidemark/protocol"
)

// Queue takes messages for the cloud.
type Queue interface {
	Append(ctx context.Context, m *protocol.Message, s *protocol.Schema, urgent bool) error
}

// Timing and bounds of a diary.
const (
	probeEvery = 5 * time.Second
	tellAfter  = 30 * time.Second // of an outage that lasts
	maxSteps   = 64
	maxText    = 300 // bytes of an error that are kept
)

// Diary records outages. It is the link's observer.
type Diary struct {
	broker *url.URL
	queue  Queue
	clock  *clock.Clock
	log    *slog.Logger
	wake   chan struct{}
	every  time.Duration // between two probes
	after  time.Duration // an outage that lasts is told

	mu     sync.Mutex
	outage *protocol.Outage // the one that lasts; nil while the link is up
	began  time.Time
	ended  []*protocol.Outage // not yet in the outbox
	told   bool
	// The rung that fails now; the outage's last entry may be older.
	rung, rungText string
	// What the connection itself said last, for the rungs that cannot be probed.
	said, saidText string
}

// New returns a diary for the way to a broker; it starts nothing.
func New(broker *url.URL, q Queue, c *clock.Clock, log *slog.Logger) *Diary {
	return &Diary{broker: broker, queue: q, clock: c, log: log, wake: make(chan struct{}, 1), every: probeEvery, after: tellAfter}
}

// LinkUp ends the outage, if there is one.
func (d *Diary) LinkUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.outage == nil {
		return
	}
	d.outage.To = time.Now().UnixMilli()
	if len(d.ended) < maxSteps {
		d.ended = append(d.ended, d.outage)
	}
	d.log.Info("the link was restored", "dur", time.Since(d.began).Round(time.Millisecond).String(), "changes", len(d.outage.Entries))
	d.outage = nil
	d.poke()
}

// LinkDown begins an outage, or says more about the one that lasts.
func (d *Diary) LinkDown(rung, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said, d.saidText = rung, text
	if d.outage == nil {
		d.began, d.told = time.Now(), false
		d.outage = &protocol.Outage{From: d.began.UnixMilli()}
		d.step(rung, text)
		d.poke()
	}
}

// step records a change of the failing rung. d.mu is held.
func (d *Diary) step(rung, text string) {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	if len(d.outage.Entries) > 0 && d.rung == rung {
		return
	}
	d.rung, d.rungText = rung, text
	if len(d.outage.Entries) == maxSteps {
		d.outage.Missed++
		return
	}
	d.outage.Entries = append(d.outage.Entries, protocol.OutageStep{Time: time.Now().UnixMilli(), Rung: rung, Text: text})
	d.log.Warn("the link fails", "rung", rung, "err", text)
}

func (d *Diary) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Rung returns the failing rung, empty while the link is up.
func (d *Diary) Rung() (rung, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.outage == nil {
		return "", ""
	}
	return d.rung, d.rungText
}

// Run probes while the link is down and appends outages, until ctx is done.
func (d *Diary) Run(ctx context.Context) error {
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		if d.down() {
			d.probe(ctx)
		}
		for _, o := range d.take() {
			m := &protocol.Message{Type: protocol.TypeOutage, Body: o.Encode()}
			d.clock.Stamp(m)
			if err := d.queue.Append(ctx, m, nil, true); err != nil {
				return nil // only the end of ctx does this
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.wake:
		}
	}
}

func (d *Diary) down() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.outage != nil
}

// take returns the outages to append: those that ended, and once the one that lasts.
func (d *Diary) take() []*protocol.Outage {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.ended
	d.ended = nil
	if d.outage != nil && !d.told && time.Since(d.began) > d.after {
		d.told = true
		now := *d.outage
		now.Entries = append([]protocol.OutageStep(nil), now.Entries...)
		out = append(out, &now)
	}
	return out
}

func (d *Diary) probe(ctx context.Context) {
	rung, text := walk(ctx, d.broker)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.outage == nil || ctx.Err() != nil {
		return
	}
	if rung == "" { // the way is open as far as TCP: what the connection said holds
		if rung, text = d.said, d.saidText; rung == protocol.RungTCP {
			rung, text = protocol.RungConnack, "TCP connects; MQTT is not up yet"
		}
	}
	d.step(rung, text)
}
