package line

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/drivers"
)

// Line asks the slaves of one line, and keeps the line open. Its methods are
// for one goroutine.
type Line struct {
	config Config
	wire   wire // nil while there is none
	speech exchanger

	opened   int // how often a wire was opened
	retryAt  time.Time
	retryGap time.Duration
	openErr  error
	silent   int // exchanges in a row in which nothing at all came

	owed map[uint8][]debt // by unit; RTU only
}

// debt is a question whose answer may still come.
type debt struct {
	form  form
	since time.Time
}

const (
	// reopenMin and reopenMax bound the pause between two attempts to open a wire.
	reopenMin = 100 * time.Millisecond
	reopenMax = 3 * time.Second

	// staleSerial and staleTCP are how many exchanges in a row may bring
	// nothing before the wire itself is suspected and opened anew. A dead
	// adapter or a forgotten connection looks just like dead slaves. On a port
	// the number also keeps the bytes that a dead adapter queues so few that a
	// write never waits for room.
	staleSerial = 8
	staleTCP    = 2

	// forgotten is after how long an answer that did not come will not come.
	forgotten = time.Minute
)

// New makes a line. It opens nothing.
func New(c Config) *Line { return &Line{config: c, owed: map[uint8][]debt{}} }

// Opened returns how often the line was opened. What was learned of the slaves
// before may be wrong when it changes.
func (l *Line) Opened() int { return l.opened }

// Connect opens the line if it is not open, and anew if its path leads elsewhere
// by now. An error has the reason "port", or is the context's.
func (l *Line) Connect(ctx context.Context) error {
	if l.wire != nil && l.wire.moved() {
		l.Close()
	}
	if l.wire != nil {
		return nil
	}
	if now := time.Now(); now.Before(l.retryAt) {
		return l.openErr
	}
	w, err := l.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.openErr = &drivers.ReadError{Reason: drivers.ReasonPort, Err: fmt.Errorf("modbus: %w", err)}
		l.retryGap = min(max(2*l.retryGap, reopenMin), reopenMax)
		l.retryAt = time.Now().Add(l.retryGap)
		return l.openErr
	}
	l.wire, l.openErr, l.retryGap, l.silent = w, nil, 0, 0
	l.opened++
	if l.config.TCP != "" {
		l.speech = newTCP(w, l.config)
	} else {
		l.speech = &rtu{wire: w, timeout: l.config.Timeout, silence: l.config.silence(), character: l.config.character()}
	}
	return nil
}

func (l *Line) open(ctx context.Context) (wire, error) {
	if l.config.TCP != "" {
		return dialTCP(ctx, l.config.TCP)
	}
	return openSerial(l.config)
}

// Close closes the line; the next question opens it again. What closing fails
// with is of no use to anybody: the wire is given up.
func (l *Line) Close() {
	if l.wire != nil {
		_ = l.wire.Close()
	}
	l.wire, l.speech = nil, nil
}

// Ask gets the data of the answer to q, in at most 1 + retries attempts. An error
// is an *ExceptionError, the context's, or has a reason that [ReasonOf] finds.
func (l *Line) Ask(ctx context.Context, q Question, retries int) ([]byte, error) {
	reconnected := false
	for attempt := 0; ; attempt++ {
		data, err := l.attempt(ctx, q)
		var lost *lostError
		var exc *ExceptionError
		switch {
		case err == nil, ctx.Err() != nil:
			return data, err
		case errors.As(err, &exc) && !exc.passing():
			return nil, err
		case errors.As(err, &lost):
			l.Close()
			// Peers close idle connections; that is no failure of this request.
			if !reconnected {
				reconnected = true
				attempt--
			}
		case drivers.ReasonOf(err) == drivers.ReasonPort:
			return nil, err
		}
		if attempt >= retries {
			return nil, err
		}
	}
}

// passing reports that the same request may succeed in a moment
// (acknowledge, busy; MODBUS Application Protocol V1.1b3, section 7).
func (e *ExceptionError) passing() bool { return e.Code == 5 || e.Code == 6 }

// Absent reports that a gateway says that the slave is not there.
func (e *ExceptionError) Absent() bool { return e.Code == 10 || e.Code == 11 }

// attempt does one exchange, on RTU with one before it if an older answer could
// be taken for this one's.
func (l *Line) attempt(ctx context.Context, q Question) ([]byte, error) {
	if err := l.Connect(ctx); err != nil {
		return nil, err
	}
	if l.config.TCP != "" {
		return l.count(l.speech.exchange(ctx, q))
	}
	l.forget(q.Unit, time.Now())
	if l.owes(q.Unit, q.form()) {
		if err := l.catchUp(ctx, l.distinct(q)); err != nil {
			return nil, err
		}
	}
	return l.owing(ctx, q)
}

// owing does one exchange and keeps the account of answers that may still come.
// Slaves answer in the order of the questions, so an answer of a form that only
// this question has says that no older one is under way.
func (l *Line) owing(ctx context.Context, q Question) ([]byte, error) {
	before := len(l.owed[q.Unit])
	l.owed[q.Unit] = append(l.owed[q.Unit], debt{q.form(), time.Now()})
	data, err := l.count(l.speech.exchange(ctx, q))
	var exc *ExceptionError
	switch {
	case err == nil:
		delete(l.owed, q.Unit)
	case before == 0 && (errors.As(err, &exc) || errors.Is(err, errDamaged)):
		delete(l.owed, q.Unit) // it was the answer, if no good one
	}
	return data, err
}

// catchUp asks something whose answer can't be an older one's. A refusal has no
// form of its own; after it, the line must stay silent for the time of an answer.
func (l *Line) catchUp(ctx context.Context, q Question) error {
	_, err := l.owing(ctx, q)
	var exc *ExceptionError
	if !errors.As(err, &exc) {
		return err
	}
	if err := l.speech.(*rtu).settle(ctx, l.config.Timeout); err != nil {
		return err
	}
	delete(l.owed, q.Unit)
	return nil
}

// distinct returns a question like q whose answer has a form that is not owed:
// first fewer of the same registers, then more.
func (l *Line) distinct(q Question) Question {
	step := 1
	if q.Kind.IsBit() {
		step = 8
	}
	n := (int(q.Quantity) + step - 1) / step
	for k := n - 1; k >= 1; k-- {
		if c := q; l.fits(&c, k*step) {
			return c
		}
	}
	for k := n + 1; k*step <= q.limit(); k++ {
		if c := q; l.fits(&c, k*step) {
			return c
		}
	}
	// Owed are more than a hundred forms of one kind within a minute.
	q.Kind = map[Kind]Kind{Coil: Discrete, Discrete: Coil, Holding: Input, Input: Holding}[q.Kind]
	return q
}

// fits sets the quantity of q, moving it down from the end of the table if need
// be, and reports whether its form is not owed.
func (l *Line) fits(q *Question, quantity int) bool {
	q.Quantity = uint16(quantity)
	q.Address = uint16(min(int(q.Address), 65536-quantity))
	return !l.owes(q.Unit, q.form())
}

func (l *Line) owes(unit uint8, f form) bool {
	for _, d := range l.owed[unit] {
		if d.form == f {
			return true
		}
	}
	return false
}

func (l *Line) forget(unit uint8, now time.Time) {
	owed := l.owed[unit]
	for len(owed) > 0 && now.Sub(owed[0].since) > forgotten {
		owed = owed[1:]
	}
	l.owed[unit] = owed
}

// count watches whether anything at all comes over the wire.
func (l *Line) count(data []byte, err error) ([]byte, error) {
	limit := staleSerial
	if l.config.TCP != "" {
		limit = staleTCP
	}
	if !errors.Is(err, errSilent) {
		l.silent = 0
	} else if l.silent++; l.silent >= limit {
		l.Close()
	}
	return data, err
}
