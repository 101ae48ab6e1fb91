package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"tidemark/cloud/ask"
)

// Config says how the API behaves. The zero value of each field is usable.
type Config struct {
	Log     *slog.Logger
	Version string // shown in the OpenAPI document
	// Gatherer is what /metrics shows; nil: no such path.
	Gatherer prometheus.Gatherer
	// Registerer takes the gateway's own figures; nil: they are not kept.
	Registerer prometheus.Registerer
	// Pages answers everything outside /api, /healthz and /metrics: the console. May be nil.
	Pages http.Handler
	// Hosts are further names under which clients reach the API, such as that of a
	// proxy in front of it. Loopback names are always allowed. Any other Host header
	// is refused, so that no web page elsewhere can read the API through DNS rebinding.
	Hosts []string
	// RatePerSecond and Burst bound the requests of one client; 0 for 200 and 400.
	RatePerSecond float64
	Burst         int
	// MaxLive bounds the live tails at a time; 0 for 64.
	MaxLive int
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Version == "" {
		c.Version = "unknown"
	}
	if c.RatePerSecond == 0 {
		c.RatePerSecond = 200
	}
	if c.Burst == 0 {
		c.Burst = 400
	}
	if c.MaxLive == 0 {
		c.MaxLive = 64
	}
	return c
}

// Gateway answers HTTP requests with what the services say.
type Gateway struct {
	cfg     Config
	conn    *nats.Conn
	handler http.Handler
	served  *ask.Served
	metrics *metrics
	live    chan struct{} // one token for each live tail
}

// New returns a Gateway that asks over conn. It starts nothing.
func New(cfg Config, conn *nats.Conn) (*Gateway, error) {
	if conn == nil {
		return nil, errors.New("gateway: no connection to NATS was given")
	}
	cfg = cfg.withDefaults()
	g := &Gateway{cfg: cfg, conn: conn, live: make(chan struct{}, cfg.MaxLive), served: ask.NewServed(conn)}
	var err error
	if g.metrics, err = newMetrics(cfg.Registerer, g.live); err != nil {
		return nil, fmt.Errorf("gateway: register metrics: %w", err)
	}
	mux := http.NewServeMux()
	if err := g.api(mux); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	mux.HandleFunc("GET /healthz", g.health)
	if cfg.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Gatherer, promhttp.HandlerOpts{ErrorLog: promLog{cfg.Log}, MaxRequestsInFlight: 4}))
	}
	mux.HandleFunc("/api/", noSuchPath)
	if cfg.Pages != nil {
		mux.Handle("/", cfg.Pages)
	} else {
		mux.HandleFunc("/", noSuchPath)
	}
	g.handler = g.around(mux)
	return g, nil
}

// Handler returns everything: the API, health, metrics and the pages.
func (g *Gateway) Handler() http.Handler { return g.handler }

// Run serves on ln, which must listen on loopback, until ctx is done. Requests
// on their way then have five seconds to end; live tails end at once.
func (g *Gateway) Run(ctx context.Context, ln net.Listener) error {
	if addr, ok := ln.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		ln.Close()
		return fmt.Errorf("gateway: listen on %s: %w", ln.Addr(), ErrNotLoopback)
	}
	group, ctx := errgroup.WithContext(ctx)
	srv := &http.Server{
		Handler:           g.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      time.Minute, // live tails set their own for each event
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(g.cfg.Log.Handler(), slog.LevelDebug),
	}
	group.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("gateway: serve on %s: %w", ln.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
		return nil
	})
	group.Go(func() error { g.served.Run(ctx); return nil })
	return group.Wait()
}

func (g *Gateway) health(w http.ResponseWriter, r *http.Request) {
	if !g.conn.IsConnected() {
		p := newProblem(http.StatusServiceUnavailable, ask.ReasonBus, "NATS cannot be reached, so no service can be asked. Check that the NATS server runs; the connection comes back by itself.")
		writeProblem(w, r, p)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte("{\"status\":\"ok\"}\n"))
}

func noSuchPath(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		writeProblem(w, r, newProblem(http.StatusMethodNotAllowed, reasonMethod, "Only GET and HEAD are answered here."))
		return
	}
	writeProblem(w, r, newProblem(http.StatusNotFound, reasonNoPath, "There is nothing at this path. /api/docs lists what there is."))
}

type promLog struct{ log *slog.Logger }

func (l promLog) Println(v ...any) { l.log.Warn("metrics cannot be shown", "err", fmt.Sprint(v...)) }
