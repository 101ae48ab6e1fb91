package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Agent answers the technician's questions.
type Agent interface {
	Status() Status
	Outbox() Outbox
	Trace(id string) (Trace, error)
	// Tail sends live readings to ch until the returned function is called.
	Tail(ch chan<- []Reading) (stop func())
}

// Server serves the socket.
type Server struct {
	l     net.Listener
	agent Agent
	log   *slog.Logger
}

// maxPath is the length of a Unix socket's path that every system takes, in
// bytes: sun_path has 104 to 108 with its end (unix(7)).
const maxPath = 103

// Listen opens the socket. One that a dead agent left behind is replaced.
func Listen(path string, a Agent, log *slog.Logger) (*Server, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("control: the socket's path %s has %d bytes, and a system takes %d; name a shorter one with --socket", path, len(path), maxPath)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("control: socket %s is served by another agent; stop it, or name another socket", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("control: folder of the socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control: remove an old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control: socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("control: socket %s: %w", path, err)
	}
	return &Server{l: l, agent: a, log: log}, nil
}

// Run serves until ctx is done.
func (s *Server) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { s.reply(w, s.agent.Status()) })
	mux.HandleFunc("GET /outbox", func(w http.ResponseWriter, _ *http.Request) { s.reply(w, s.agent.Outbox()) })
	mux.HandleFunc("GET /trace/{id}", func(w http.ResponseWriter, r *http.Request) {
		t, err := s.agent.Trace(r.PathValue("id"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.reply(w, t)
	})
	mux.HandleFunc("GET /tail", s.tail)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		if err := srv.Close(); err != nil {
			s.log.Debug("close the control socket", "err", err)
		}
	})
	err := srv.Serve(s.l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("control: %w", err)
}

func (s *Server) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("control reply", "err", err)
	}
}

// tail streams readings, one JSON object a line.
func (s *Server) tail(w http.ResponseWriter, r *http.Request) {
	ch := make(chan []Reading, 64)
	defer s.agent.Tail(ch)()
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	if err := flush.Flush(); err != nil {
		return
	}
	for {
		select {
		case batch := <-ch:
			for i := range batch {
				if err := enc.Encode(&batch[i]); err != nil {
					return
				}
			}
			if err := flush.Flush(); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
