package line

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// wire is an open serial port or TCP connection.
type wire interface {
	// read waits for bytes until a time, and returns 0 then. It watches ctx.
	read(ctx context.Context, p []byte, until time.Time) (int, error)
	// write sends p at once.
	write(p []byte) error
	// discard drops what was received and not read, and what waits to be sent.
	discard() error
	// moved reports that the path now leads elsewhere, or nowhere.
	moved() bool
	io.Closer
}

// tcpWire is a connection to a TCP slave or gateway.
type tcpWire struct{ conn net.Conn }

// connectTimeout bounds the opening of a connection.
const connectTimeout = 2 * time.Second

func dialTCP(ctx context.Context, address string) (wire, error) {
	d := net.Dialer{Timeout: connectTimeout}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &tcpWire{conn}, nil
}

func (w *tcpWire) read(ctx context.Context, p []byte, until time.Time) (int, error) {
	if err := w.conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	// It fails only on a closed connection, whose Read has ended already.
	stop := context.AfterFunc(ctx, func() { _ = w.conn.SetReadDeadline(time.Unix(1, 0)) })
	n, err := w.conn.Read(p)
	stop()
	if n > 0 {
		return n, nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, ctx.Err()
	}
	return 0, err
}

func (w *tcpWire) write(p []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	_, err := w.conn.Write(p)
	return err
}

func (w *tcpWire) discard() error { return nil }
func (w *tcpWire) moved() bool    { return false }
func (w *tcpWire) Close() error   { return w.conn.Close() }
