package trace

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

// Config says how the ledger is kept. Zero values are the defaults given.
type Config struct {
	// Dir is the folder of the ledger's file, trace.db. It is made if missing.
	Dir string
	// MaxAge is how long a message stays in the ledger after its commit; 7 days.
	MaxAge time.Duration
	// MaxMessages is how many messages stay in it; 50 million. The oldest go first.
	MaxMessages int64
	// CommitEvery is how long rows are gathered before they are written; 250 ms.
	CommitEvery time.Duration
	// Metrics takes the service's metrics; nil for none.
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

func (c *Config) setDefaults() {
	if c.MaxAge <= 0 {
		c.MaxAge = 7 * 24 * time.Hour
	}
	if c.MaxMessages <= 0 {
		c.MaxMessages = 50_000_000
	}
	if c.CommitEvery <= 0 {
		c.CommitEvery = 250 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Service is the hop ledger.
type Service struct {
	cfg     Config
	conn    *nats.Conn
	js      jetstream.JetStream
	reader  *stream.Reader
	store   *store
	metrics *metrics

	mu        sync.RWMutex // guards what follows; only the loop of the ledger writes all but presence and snapshots
	gateways  map[protocol.Gateway]*gateway
	sites     map[string]int64
	presence  map[protocol.Gateway]contract.Presence
	snapshots map[protocol.Gateway]contract.TidemarkSnapshot
	marks     map[protocol.Stage]contract.HopMark // the newest of each stage
	unwritten []contract.HopMark                  // marks that are not in the file yet, in order
	pos       position
	newestUs  int64 // commit time of the newest entry in the ledger
}

// New opens the ledger's file. It starts nothing.
func New(cfg Config, conn *nats.Conn, js jetstream.JetStream) (*Service, error) {
	cfg.setDefaults()
	st, err := openStore(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, conn: conn, js: js, reader: stream.NewReader(js, cfg.Log), store: st,
		presence: map[protocol.Gateway]contract.Presence{}, snapshots: map[protocol.Gateway]contract.TidemarkSnapshot{}, marks: map[protocol.Stage]contract.HopMark{}}
	if s.metrics, err = newMetrics(cfg.Metrics); err == nil {
		err = s.load()
	}
	if err != nil {
		st.Close()
		return nil, err
	}
	return s, nil
}

func (s *Service) load() (err error) {
	if s.pos, err = s.store.position(); err != nil {
		return err
	}
	if s.gateways, s.sites, err = s.store.gateways(); err != nil {
		return err
	}
	marks, err := s.store.newestMarks()
	for _, m := range marks {
		s.marks[m.Stage] = m
	}
	s.metrics.position.Set(float64(s.pos.Device))
	return err
}

// Run keeps the ledger and answers requests until ctx is done; then it writes
// what it has gathered, closes the file and returns nil. It can run once.
func (s *Service) Run(ctx context.Context) error {
	defer s.store.Close()
	if err := s.checkStream(ctx); ctx.Err() != nil {
		return nil
	} else if err != nil {
		return err
	}
	entries := make(chan *stream.Entry, 8)
	letters := make(chan *letter, 64)
	marks, unsubscribe, err := s.subscribeMarks()
	if err != nil {
		return err
	}
	defer unsubscribe()
	stop, err := s.serve(ctx)
	if err != nil {
		return err
	}
	defer stop()
	g, gctx := errgroup.WithContext(ctx)
	after, afterLetter := s.pos.Device, s.pos.Platform
	g.Go(func() error { return s.reader.Run(gctx, after, entries) })
	g.Go(func() error { s.readLetters(gctx, afterLetter, letters); return nil })
	g.Go(func() error { s.watch(gctx, contract.BucketPresence, s.notePresence); return nil })
	g.Go(func() error { s.watch(gctx, contract.BucketTidemarks, s.noteSnapshot); return nil })
	g.Go(func() error { return s.keep(gctx, entries, letters, marks) })
	return g.Wait()
}

// checkStream starts from the beginning if the device stream was made anew:
// positions in the old one say nothing about it.
func (s *Service) checkStream(ctx context.Context) error {
	for _, c := range []struct {
		name string
		pos  *uint64
	}{{contract.StreamDevice, &s.pos.Device}, {contract.StreamDead, &s.pos.Platform}} {
		st, err := s.js.Stream(ctx, c.name)
		if err != nil {
			return fmt.Errorf("trace: stream %s: %w", c.name, err)
		}
		last := st.CachedInfo().State.LastSeq
		if last >= *c.pos {
			continue
		}
		s.cfg.Log.Warn("the stream is shorter than what the ledger has read of it; it was made anew, and is read from its beginning",
			"stream", c.name, "sequence", last, "position", *c.pos)
		*c.pos = 0
		if c.name == contract.StreamDevice {
			s.marks = map[protocol.Stage]contract.HopMark{}
			for _, g := range s.gateways {
				g.sequence = 0
			}
			if err := s.store.forgetMarks(); err != nil {
				return err
			}
		}
	}
	return nil
}
