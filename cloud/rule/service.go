package rule

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/protocol"
)

// MaxClockError is how far a gateway's clock may be off from the receiver's at
// the sending of a bundle before its readings are placed by their age.
const MaxClockError = 5 * time.Minute

// Config says which rules there are. Zero values are the defaults given.
type Config struct {
	// Dir is the folder of the service's file, rule.db. It is made if missing.
	Dir string
	// Rules is the folder of the rules' files; empty for no rules. It is read by
	// New; what changes in it later counts from the next start.
	Rules string
	// MaxLateness is how much older than the newest reading of its gateway a
	// reading may be and still count; 15 s.
	MaxLateness time.Duration
	// CommitEvery is how long states are gathered before they are written; 250 ms.
	CommitEvery time.Duration
	// Metrics takes the service's metrics; nil for none.
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

func (c *Config) setDefaults() {
	if c.MaxLateness <= 0 {
		c.MaxLateness = 15 * time.Second
	}
	if c.CommitEvery <= 0 {
		c.CommitEvery = 250 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Service evaluates rules.
type Service struct {
	cfg     Config
	conn    *nats.Conn
	js      jetstream.JetStream
	reader  *stream.Reader
	store   *store
	metrics *metrics
	rules   []*rule
	wake    chan struct{} // there may be alerts to say

	mu       sync.RWMutex // guards what follows, and all in it
	gateways map[protocol.Gateway]*gateway
	errors   map[string]string // by rule: its newest error
	written  uint64            // position that is on disk
}

// New reads the rules and opens the service's file. It starts nothing. If the
// rules have mistakes, the error is a [*LoadError] with all of them.
func New(cfg Config, conn *nats.Conn, js jetstream.JetStream) (*Service, error) {
	cfg.setDefaults()
	rules, err := load(cfg.Rules)
	if err != nil {
		return nil, err
	}
	st, err := openStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, conn: conn, js: js, reader: stream.NewReader(js, cfg.Log), store: st, rules: rules, wake: make(chan struct{}, 1),
		gateways: map[protocol.Gateway]*gateway{}, errors: map[string]string{}}
	if s.metrics, err = newMetrics(cfg.Metrics); err == nil {
		err = s.restore()
	}
	if err != nil {
		st.Close()
		return nil, err
	}
	return s, nil
}

// restore takes over the states on disk, and clears the alerts of rules that
// are gone or were changed.
func (s *Service) restore() error {
	var err error
	if s.written, err = s.store.position(); err != nil {
		return err
	}
	s.metrics.position.Set(float64(s.written))
	states, err := s.store.states()
	if err != nil {
		return err
	}
	var cleared []contract.Alert
	dirty := map[*gateway]bool{}
	for addr, state := range states {
		g := newGateway(addr, s.rules)
		alerts, err := g.restore(state)
		if err != nil {
			return err
		}
		s.gateways[addr] = g
		if len(alerts) > 0 {
			cleared, dirty[g] = append(cleared, alerts...), true
		}
	}
	if len(cleared) == 0 {
		return nil
	}
	if err := s.store.commit(s.written, dirty, cleared); err != nil {
		return fmt.Errorf("rule: clear the alerts of rules that are gone: %w", err)
	}
	for _, a := range cleared {
		s.cfg.Log.Info("an alert was cleared because its rule is not what it was", "rule", a.Rule, "site", a.Site, "gateway", a.Gateway, "reason", a.ClearedReason)
	}
	s.metrics.cleared.Add(float64(len(cleared)))
	return nil
}

// Run evaluates rules and answers requests until ctx is done; then it writes
// what it has gathered, closes the file and returns nil. It can run once.
func (s *Service) Run(ctx context.Context) error {
	defer s.store.Close()
	after, err := s.start(ctx)
	if ctx.Err() != nil {
		return nil
	} else if err != nil {
		return err
	}
	stop, err := s.serve(ctx)
	if err != nil {
		return err
	}
	defer stop()
	entries := make(chan *stream.Entry, 8)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.reader.Run(gctx, after, entries) })
	g.Go(func() error { return s.evaluate(gctx, after, entries) })
	g.Go(func() error { s.say(gctx); return nil })
	return g.Wait()
}

// start returns the position to read on from: none if the stream was made anew.
func (s *Service) start(ctx context.Context) (uint64, error) {
	st, err := s.js.Stream(ctx, contract.StreamDevice)
	if err != nil {
		return 0, fmt.Errorf("rule: stream %s: %w", contract.StreamDevice, err)
	}
	if last := st.CachedInfo().State.LastSeq; last < s.written {
		s.cfg.Log.Warn("the stream is shorter than what rules have seen of it; it was made anew, and is read from its beginning",
			"sequence", last, "position", s.written)
		s.written = 0
	}
	return s.written, nil
}
