package line

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// exchanger puts one question on an open wire and returns the data of its answer.
// Its errors are an *ExceptionError, a *lostError when the wire is no good any
// more, the context's error, or one of the *drivers.ReadError of errors.go.
type exchanger interface {
	exchange(ctx context.Context, q Question) ([]byte, error)
}

// rtu speaks RTU on a wire.
type rtu struct {
	wire      wire
	timeout   time.Duration
	silence   time.Duration
	character time.Duration
	buf       [4 * rtuMax]byte
}

func (x *rtu) exchange(ctx context.Context, q Question) ([]byte, error) {
	frame, err := q.rtu()
	if err != nil {
		return nil, err
	}
	if err := x.settle(ctx, x.silence); err != nil {
		return nil, err
	}
	if err := x.wire.write(frame); err != nil {
		return nil, &lostError{err}
	}
	// The slave begins to answer within the timeout; both frames take their time on the line.
	onLine := x.character * time.Duration(len(frame)+3+q.form().bytes+2)
	return x.await(ctx, q, time.Now().Add(x.timeout+onLine))
}

func (x *rtu) await(ctx context.Context, q Question, until time.Time) ([]byte, error) {
	n := 0
	for {
		got, err := x.wire.read(ctx, x.buf[n:], until)
		if err != nil {
			return nil, lost(ctx, err)
		}
		n += got
		s := lookRTU(x.buf[:n], q, got == 0)
		switch {
		case s.found && s.data == nil:
			return nil, &ExceptionError{s.exception}
		case s.found:
			return s.data, nil
		case got > 0 && n == len(x.buf):
			return nil, errNoisy
		case got > 0:
			continue
		case s.damaged || s.partial:
			return nil, errDamaged
		case s.foreign:
			return nil, errForeign
		case n > 0:
			return nil, errGarbled
		}
		return nil, errSilent
	}
}

// settle waits until the line has been silent for a time, and throws away what
// comes until then.
func (x *rtu) settle(ctx context.Context, silence time.Duration) error {
	if err := x.wire.discard(); err != nil {
		return &lostError{err}
	}
	giveUp := time.Now().Add(silence + x.timeout + 2*rtuMax*x.character)
	for {
		n, err := x.wire.read(ctx, x.buf[:], time.Now().Add(silence))
		switch {
		case err != nil:
			return lost(ctx, err)
		case n == 0:
			return nil
		case time.Now().After(giveUp):
			return errNoisy
		}
	}
}

// lost tells an interrupted wait from a broken wire.
func lost(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	return &lostError{err}
}

// tcp speaks Modbus TCP on a wire.
type tcp struct {
	wire        wire
	timeout     time.Duration
	silence     time.Duration
	transaction uint16
	buf         [2 * (tcpHeader + tcpLengthMax)]byte
	n           int // bytes in buf that begin a frame
}

func newTCP(w wire, c Config) *tcp {
	// A random first number keeps answers to an earlier connection's questions,
	// which some gateways send to the next one, from fitting.
	return &tcp{wire: w, timeout: c.Timeout, silence: c.silence(), transaction: uint16(rand.Uint32())}
}

func (x *tcp) exchange(ctx context.Context, q Question) ([]byte, error) {
	x.transaction++
	frame, err := q.tcp(x.transaction)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, x.silence); err != nil {
		return nil, err
	}
	if err := x.wire.write(frame); err != nil {
		return nil, &lostError{err}
	}
	until := time.Now().Add(x.timeout)
	for {
		s, used, err := lookTCP(x.buf[:x.n], q, x.transaction)
		if err != nil {
			return nil, &lostError{err}
		}
		answer := append([]byte(nil), s.data...)
		x.n = copy(x.buf[:], x.buf[used:x.n])
		switch {
		case s.foreign:
			return nil, errForeign
		case s.found && s.data == nil:
			return nil, &ExceptionError{s.exception}
		case s.found:
			return answer, nil
		}
		got, err := x.wire.read(ctx, x.buf[x.n:], until)
		if err != nil {
			return nil, lost(ctx, err)
		}
		if got == 0 {
			return nil, errSilent
		}
		x.n += got
	}
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
