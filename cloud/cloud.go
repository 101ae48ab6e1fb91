package cloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"tidemark/cloud/broker"
	"tidemark/cloud/bus"
	"tidemark/cloud/console"
	"tidemark/cloud/data"
	"tidemark/cloud/gateway"
	"tidemark/cloud/receiver"
	"tidemark/cloud/rule"
	"tidemark/cloud/trace"
)

// edge is the side of a broker that cloud.go needs.
type edge interface {
	Run(ctx context.Context, h broker.Handler) error
	receiver.Sender
}

// part is something that runs until its context ends.
type part interface {
	Run(ctx context.Context) error
}

// process is the parts of one running process.
type process struct {
	cfg     Config
	bus     *bus.Bus
	metrics *prometheus.Registry
	parts   []part
	addr    Addresses
	closers []func()
}

// Run runs the cloud's services until ctx is done.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	p := &process{cfg: cfg, metrics: prometheus.NewRegistry()}
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer p.close()
	if err := p.open(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range p.parts {
		group.Go(func() error { return part.Run(ctx) })
	}
	cfg.Log.Info("the cloud is running", "version", cfg.Version, "roles", cfg.Roles, "mqtt", p.addr.MQTT, "http", p.addr.HTTP, "nats", p.addr.NATS)
	if cfg.OnReady != nil {
		cfg.OnReady(p.addr)
	}
	return group.Wait()
}

func (p *process) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.closers[i]()
	}
}

// open makes the parts in the order of the path; nothing is started yet, but
// for the bus.
func (p *process) open(ctx context.Context) error {
	if err := p.lock(); err != nil {
		return err
	}
	var err error
	p.bus, err = bus.Open(ctx, bus.Config{URL: p.cfg.NATS, Dir: filepath.Join(p.cfg.Dir, "stream"), Listen: p.cfg.NATSListen, Log: p.cfg.Log})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.bus.Close)
	p.addr.NATS = p.bus.URL()
	prepare, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := p.bus.Prepare(prepare); err != nil {
		return err
	}
	steps := []struct {
		role string
		open func(context.Context) error
	}{{RoleReceiver, p.openReceiver}, {RoleRule, p.openRule}, {RoleData, p.openData}, {RoleTrace, p.openTrace}, {RoleGateway, p.openGateway}}
	for _, s := range steps {
		if p.cfg.has(s.role) {
			if err := s.open(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// lock keeps a second process from the folder.
func (p *process) lock() error {
	if p.cfg.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(p.cfg.Dir, 0o750); err != nil {
		return fmt.Errorf("cloud: data folder: %w", err)
	}
	unlock, err := lockDir(p.cfg.Dir)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, unlock)
	return nil
}

// withHandler runs an edge with its handler.
type withHandler struct {
	edge    edge
	handler broker.Handler
}

// Run runs the edge.
func (w withHandler) Run(ctx context.Context) error { return w.edge.Run(ctx, w.handler) }

func (p *process) openReceiver(ctx context.Context) error {
	var e edge
	if p.cfg.MQTT != "" {
		external, err := broker.NewExternal(p.cfg.MQTT, p.cfg.Log)
		if err != nil {
			return err
		}
		e = external
	} else {
		l, err := listen("mqtt-listen", p.cfg.MQTTListen)
		if err != nil {
			return err
		}
		p.addr.MQTT = l.Addr().String()
		e = broker.NewEmbedded(l, 0, p.cfg.Log)
	}
	r, err := receiver.New(ctx, receiver.Config{Metrics: p.metrics, Log: p.cfg.Log}, p.bus.JetStream(), e)
	if err != nil {
		return err
	}
	p.parts = append(p.parts, r, withHandler{e, r})
	return nil
}

func (p *process) openRule(context.Context) error {
	s, err := rule.New(rule.Config{Dir: filepath.Join(p.cfg.Dir, "rule"), Rules: p.cfg.Rules, Metrics: p.metrics, Log: p.cfg.Log}, p.bus.Conn(), p.bus.JetStream())
	if err != nil {
		return err
	}
	p.parts = append(p.parts, s)
	return nil
}

func (p *process) openData(context.Context) error {
	s, err := data.New(data.Config{Dir: filepath.Join(p.cfg.Dir, "data"), RawRetention: p.cfg.Retention, Metrics: p.metrics, Log: p.cfg.Log}, p.bus.Conn(), p.bus.JetStream())
	if err != nil {
		return err
	}
	p.parts = append(p.parts, s)
	return nil
}

func (p *process) openTrace(context.Context) error {
	if p.cfg.LedgerOff {
		p.cfg.Log.Warn("the hop ledger is off: messages and gateways are not shown")
		return nil
	}
	s, err := trace.New(trace.Config{Dir: filepath.Join(p.cfg.Dir, "trace"), Metrics: p.metrics, Log: p.cfg.Log}, p.bus.Conn(), p.bus.JetStream())
	if err != nil {
		return err
	}
	p.parts = append(p.parts, s)
	return nil
}

// served is the HTTP gateway with its listener.
type served struct {
	gateway  *gateway.Gateway
	listener net.Listener
}

// Run serves HTTP.
func (s served) Run(ctx context.Context) error { return s.gateway.Run(ctx, s.listener) }

func (p *process) openGateway(context.Context) error {
	l, err := listen("http-listen", p.cfg.HTTPListen)
	if err != nil {
		return err
	}
	p.addr.HTTP = l.Addr().String()
	pages, err := console.New(console.Config{Log: p.cfg.Log, Version: p.cfg.Version}, p.bus.Conn())
	if err != nil {
		return err
	}
	g, err := gateway.New(gateway.Config{Log: p.cfg.Log, Version: p.cfg.Version, Gatherer: p.metrics, Registerer: p.metrics, Pages: pages.Handler()}, p.bus.Conn())
	if err != nil {
		return err
	}
	p.parts = append(p.parts, served{g, l})
	return nil
}

func listen(what, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("cloud: %s: port of %s is taken by another process; stop that, or choose another address", what, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("cloud: %s: %w", what, err)
	}
	return l, nil
}
