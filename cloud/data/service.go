package data

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
)

// Service is the data service.
type Service struct {
	cfg     Config
	conn    *nats.Conn
	js      jetstream.JetStream
	reader  *stream.Reader
	catalog *catalog
	parts   *partitions
	rollups *rollups
	metrics *metrics
	leases  leases

	// layout is held for reading by every query, for writing by what moves or
	// removes what is stored. It is taken before mu.
	layout sync.RWMutex

	mu       sync.RWMutex
	head     batch
	flushing *batch
	flushed  uint64 // all files are complete up to here
	applied  uint64 // head is complete up to here
	asOfUs   int64  // commit time of the bundle at applied
	pending  uint64 // bundles behind it when it was delivered
	moved    map[bootKey]bool
	free     []*headBlock
	freeSize int // readings that fit in free

	flushes  chan *batch
	finished chan struct{}
	// recovered is closed once no file is ahead of what is served, as files can
	// be after a crash. Until then queries wait.
	recovered chan struct{}
}

// bootKey is a boot of a gateway.
type bootKey struct {
	gateway int64
	boot    uint64
}

// batch is what one flush writes.
type batch struct {
	touched  []*series
	readings int
	last     uint64 // position
	asOfUs   int64
	clocks   map[bootKey]clock
	moved    []bootKey // boots whose readings were placed: they leave the unplaced ones
	since    time.Time // when the first entry came
	done     []written
}

// New opens the stores in cfg.Dir. It starts nothing. The streams and buckets
// must have been prepared.
func New(cfg Config, conn *nats.Conn, js jetstream.JetStream) (*Service, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, ErrNoDir
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("data: make the data folder: %w", err)
	}
	c, err := openCatalog(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, conn: conn, js: js, reader: stream.NewReader(js, cfg.Log), catalog: c, moved: map[bootKey]bool{},
		flushes: make(chan *batch), finished: make(chan struct{}, 1), recovered: make(chan struct{})}
	s.flushed, s.applied, s.asOfUs = c.position, c.position, c.asOfUs
	s.leases.until = map[string]time.Time{}
	if s.parts, err = openPartitions(filepath.Join(cfg.Dir, "raw")); err == nil {
		s.rollups, err = openRollups(filepath.Join(cfg.Dir, "rollup"))
	}
	if err == nil {
		s.metrics, err = newMetrics(s, cfg.Metrics)
	}
	if err != nil {
		return nil, errors.Join(err, c.db.Close())
	}
	return s, nil
}

// Run stores and serves until ctx is done; then it writes what is in memory and
// closes the stores. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	defer s.close()
	if err := s.run(ctx); err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
		return err
	}
	return nil
}

func (s *Service) run(ctx context.Context) error {
	wait, err := s.parts.ahead(ctx)
	if err != nil {
		return err
	}
	if err := s.checkStream(ctx, max(wait, s.flushed)); err != nil {
		return err
	}
	if wait <= s.flushed {
		close(s.recovered)
	}
	micro, err := s.serve(ctx)
	if err != nil {
		return err
	}
	entries := make(chan *stream.Entry, 8)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.reader.Run(ctx, s.flushed, entries) })
	g.Go(func() error { return s.etl(ctx, entries, wait) })
	g.Go(func() error { return s.flusher(ctx) })
	g.Go(func() error { return s.keep(ctx) })
	err = g.Wait()
	return errors.Join(err, micro.stop())
}

// checkStream refuses a stream that is not the one that was stored from.
func (s *Service) checkStream(ctx context.Context, stored uint64) error {
	if stored == 0 {
		return nil
	}
	str, err := s.js.Stream(ctx, contract.StreamDevice)
	if err != nil {
		return fmt.Errorf("data: look at the device stream: %w", err)
	}
	if last := str.CachedInfo().State.LastSeq; last < stored {
		return fmt.Errorf("%w: it ends at %d, the folder %s holds up to %d; put back the stream's folder, or give an empty data folder",
			ErrStreamReset, last, s.cfg.Dir, stored)
	}
	return nil
}

func (s *Service) close() {
	for _, p := range s.parts.all() {
		if err := p.close(); err != nil {
			s.cfg.Log.Warn("a file of readings does not close cleanly", "file", p.path, "err", err)
		}
	}
	if err := errors.Join(s.rollups.close(), s.catalog.db.Close()); err != nil {
		s.cfg.Log.Warn("a store does not close cleanly", "err", err)
	}
	s.metrics.unregister()
}
