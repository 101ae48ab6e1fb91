package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"tidemark/agent/clock"
	"tidemark/agent/control"
	"tidemark/agent/diary"
	"tidemark/agent/hops"
	"tidemark/agent/link"
	"tidemark/agent/outbox"
	"tidemark/agent/profile"
	"tidemark/agent/sampler"
	"tidemark/drivers/all"
	"tidemark/protocol"
)

// gather is how long the outbox waits for further messages before it commits:
// the buses of a gateway finish their messages at nearly the same moment.
const gather = 30 * time.Millisecond

// Agent is the parts of a running agent.
type Agent struct {
	cfg     Config
	profile *profile.Profile
	gateway protocol.Gateway
	broker  *url.URL
	started time.Time

	clock  *clock.Clock
	hops   *hops.Recorder
	buses  []*sampler.Bus
	outbox *outbox.Outbox
	diary  *diary.Diary
	link   *link.Link
}

// Run runs an agent until ctx is done and everything it holds is on disk.
func Run(ctx context.Context, cfg Config) error {
	a, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer a.outbox.Close()
	ctl, err := control.Listen(cfg.socket(), a, cfg.Log)
	if err != nil {
		return err
	}
	return a.run(ctx, ctl)
}

// open reads the profile, recovers the outbox and opens the drivers.
func open(ctx context.Context, cfg Config) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p, err := profile.Load(cfg.Profile, all.Drivers())
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, profile: p, gateway: protocol.Gateway{Site: p.Site, Name: p.Gateway}, started: time.Now(), hops: &hops.Recorder{}}
	if a.broker, err = cfg.broker(); err != nil {
		return nil, err
	}
	a.clock = clock.New(cfg.Log)
	if a.outbox, err = outbox.Open(ctx, outbox.Config{Dir: cfg.Data, Budget: cfg.Budget, CommitInterval: gather, Log: cfg.Log,
		// Off: the outbox does not know what is in flight, so a reading that the cloud commits
		// at that moment would come once more, as the last of its minute.
		ThinAt: -1}); err != nil {
		return nil, err
	}
	if err := a.wire(); err != nil {
		a.outbox.Close()
		return nil, err
	}
	return a, nil
}

func (a *Agent) wire() error {
	q := queue{a.outbox, a.hops}
	for _, spec := range a.profile.Buses {
		b, err := sampler.New(spec, sampler.Config{Every: a.profile.Cadence.Commit, Queue: q, Clock: a.clock, Hops: a.hops, Log: a.cfg.Log})
		if err != nil {
			return err
		}
		a.buses = append(a.buses, b)
	}
	a.diary = diary.New(a.broker, q, a.clock, a.cfg.Log)
	a.link = link.New(link.Config{
		Broker: a.broker, Gateway: a.gateway, SendEvery: a.profile.Cadence.Send,
		FirstSession: a.outbox.RunNumber()<<20 + 1,
		Presence:     protocol.Presence{Agent: a.cfg.Version, Profile: a.profile.Hash, Boot: a.clock.Boot(), Gateway: a.gateway.String()},
		Observer:     a.diary, Hops: a.hops, Log: a.cfg.Log,
	}, store{a.outbox, a.cfg.Log})
	return nil
}

// run starts the parts, and stops them in the order of the path. The first
// that fails stops all.
func (a *Agent) run(ctx context.Context, ctl *control.Server) error {
	q := queue{a.outbox, a.hops}
	deep := context.WithoutCancel(ctx)
	boxCtx, stopBox := context.WithCancel(deep)
	defer stopBox()
	linkCtx, stopLink := context.WithCancel(deep)
	defer stopLink()

	var box, way errgroup.Group
	box.Go(func() error { return a.outbox.Run(boxCtx) })
	sources, ctx := errgroup.WithContext(ctx)
	way.Go(func() error { return a.link.Run(linkCtx) })
	way.Go(func() error { return a.diary.Run(linkCtx) })
	way.Go(func() error { return ctl.Run(linkCtx) })

	a.tell(ctx, q, protocol.EventStarted, "the agent has started")
	for _, b := range a.buses {
		sources.Go(func() error { return b.Run(ctx) })
	}
	sources.Go(func() error { return a.clock.Run(ctx, q) })
	sources.Go(func() error { return a.heartbeats(ctx, q) })
	a.cfg.Log.Info("the agent is running", "site", a.gateway.Site, "gateway", a.gateway.Name, "version", a.cfg.Version,
		"profile", a.profile.Hash, "points", a.profile.Points(), "epoch", protocol.EpochString(a.outbox.Epoch()), "seq", a.outbox.Head())
	if a.cfg.OnReady != nil {
		a.cfg.OnReady()
	}

	err := sources.Wait()
	last, cancel := context.WithTimeout(deep, 2*time.Second)
	a.tell(last, q, protocol.EventStopped, "the agent was asked to stop")
	cancel()
	stopLink()
	err = firstOf(err, way.Wait())
	stopBox()
	err = firstOf(err, box.Wait())
	a.cfg.Log.Info("the agent has stopped", "seq", a.outbox.Head(), "err", err)
	return err
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (a *Agent) tell(ctx context.Context, q queue, code, text string) {
	e := protocol.Event{Code: code, Text: text, Data: map[string]string{"agent": a.cfg.Version, "profile": a.profile.Hash}}
	m := &protocol.Message{Type: protocol.TypeEvent, Body: e.Encode()}
	a.clock.Stamp(m)
	if err := q.Append(ctx, m, nil, true); err != nil {
		a.cfg.Log.Warn("an event was not recorded", "code", code, "err", err)
	}
}

// queue is the outbox as those who make messages see it.
type queue struct {
	box  *outbox.Outbox
	hops *hops.Recorder
}

// Append queues a message; it measures the time to its commit.
func (q queue) Append(ctx context.Context, m *protocol.Message, s *protocol.Schema, urgent bool) error {
	began := time.Now()
	t, err := q.box.Append(ctx, m, s, urgent)
	if err != nil {
		return fmt.Errorf("agent: queue a message: %w", err)
	}
	go func() { // ends with the outbox at the latest
		if t.Wait(context.WithoutCancel(ctx)) == nil {
			q.hops.Observe(protocol.Queued, time.Since(began))
		}
	}()
	return nil
}

// store is the outbox as the link sees it.
type store struct {
	*outbox.Outbox
	log *slog.Logger
}

// Read returns stored messages, decoded. One that does not decode though its
// checksum is right, such as one that a later version of the agent wrote, is
// named as lost: it must not block what is behind it.
func (s store) Read(after, upTo uint64, maxBytes int, skip protocol.Set) ([]*protocol.Message, error) {
	stored, err := s.Outbox.Read(after, upTo, maxBytes, skip)
	if err != nil {
		return nil, err
	}
	out := make([]*protocol.Message, 0, len(stored))
	for _, r := range stored {
		m, err := protocol.DecodeMessage(r.Data)
		if err == nil {
			out = append(out, m)
			continue
		}
		s.log.Error("a message in the outbox does not decode; it is named as lost", "seq", r.Seq, "bytes", len(r.Data), "err", err)
		text := "This version of the agent cannot read it: " + err.Error() + "."
		if err := s.GiveUp(protocol.SetOf(protocol.Range{First: r.Seq, Last: r.Seq}), protocol.CauseCorrupt, text); err != nil {
			return nil, fmt.Errorf("agent: message %d in the outbox: %w", r.Seq, err)
		}
	}
	return out, nil
}
