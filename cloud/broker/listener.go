package broker

import (
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/wind-c/comqtt/v2/mqtt/listeners"
)

// listener accepts connections for the embedded broker. It bounds their
// number, and keeps a panic in one of them from ending the process.
type listener struct {
	l     net.Listener
	log   *slog.Logger
	slots chan struct{}
	once  sync.Once
}

func newListener(l net.Listener, most int, log *slog.Logger) *listener {
	return &listener{l: l, log: log, slots: make(chan struct{}, most)}
}

// Init is part of the broker's interface.
func (l *listener) Init(*slog.Logger) error { return nil }

// ID is part of the broker's interface.
func (l *listener) ID() string { return "mqtt" }

// Address is part of the broker's interface.
func (l *listener) Address() string { return l.l.Addr().String() }

// Protocol is part of the broker's interface.
func (l *listener) Protocol() string { return "tcp" }

// Serve accepts until the listener is closed.
func (l *listener) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := l.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: it passes
			l.log.Warn("a connection cannot be accepted", "err", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		select {
		case l.slots <- struct{}{}:
			go l.serve(conn, establish)
		default:
			l.log.Warn("a connection was refused: there are too many", "remote", conn.RemoteAddr().String(), "most", cap(l.slots))
			conn.Close()
		}
	}
}

func (l *listener) serve(conn net.Conn, establish listeners.EstablishFn) {
	defer func() {
		<-l.slots
		if p := recover(); p != nil {
			l.log.Error("serving a connection panicked; it is closed", "remote", conn.RemoteAddr().String(), "err", p, "stack", string(debug.Stack()))
			conn.Close()
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil { // to CONNECT; the broker then sets its own
		conn.Close()
		return
	}
	if err := establish(l.ID(), cork(conn)); err != nil {
		l.log.Debug("connection ended", "remote", conn.RemoteAddr().String(), "err", err)
	}
}

// Close is part of the broker's interface.
func (l *listener) Close(closeClients listeners.CloseFn) {
	l.once.Do(func() { closeClients(l.ID()) })
	if err := l.l.Close(); err != nil {
		l.log.Debug("close listener", "err", err)
	}
}
