package modbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/drivers"
)

// master asks the slaves of one line, and keeps the line open.
type master struct {
	config *BusConfig
	wire   wire // nil while there is none
	line   exchanger

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

// connect opens the wire if it is not open.
func (m *master) connect(ctx context.Context) error {
	if m.wire != nil && m.wire.moved() {
		m.disconnect()
	}
	if m.wire != nil {
		return nil
	}
	if now := time.Now(); now.Before(m.retryAt) {
		return m.openErr
	}
	w, err := m.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.openErr = &drivers.ReadError{Reason: drivers.ReasonPort, Err: fmt.Errorf("modbus: %w", err)}
		m.retryGap = min(max(2*m.retryGap, reopenMin), reopenMax)
		m.retryAt = time.Now().Add(m.retryGap)
		return m.openErr
	}
	m.wire, m.openErr, m.retryGap, m.silent = w, nil, 0, 0
	m.opened++
	if m.config.TCP != "" {
		m.line = newTCP(w, m.config)
	} else {
		m.line = &rtu{wire: w, timeout: m.config.Timeout, silence: m.config.silence(), character: m.config.character()}
	}
	return nil
}

func (m *master) open(ctx context.Context) (wire, error) {
	if m.config.TCP != "" {
		return dialTCP(ctx, m.config.TCP)
	}
	return openSerial(m.config)
}

// disconnect closes the wire. What closing it fails with is of no use to
// anybody: the wire is given up.
func (m *master) disconnect() {
	if m.wire != nil {
		_ = m.wire.Close()
	}
	m.wire, m.line = nil, nil
}

// ask gets the answer to q, in at most 1 + retries attempts.
func (m *master) ask(ctx context.Context, q question, retries int) ([]byte, error) {
	reconnected := false
	for attempt := 0; ; attempt++ {
		data, err := m.attempt(ctx, q)
		var lost *lostError
		var exc *exceptionError
		switch {
		case err == nil, ctx.Err() != nil:
			return data, err
		case errors.As(err, &exc) && !exc.passing():
			return nil, err
		case errors.As(err, &lost):
			m.disconnect()
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
func (e *exceptionError) passing() bool { return e.code == 5 || e.code == 6 }

// absent reports that a gateway says that the slave is not there.
func (e *exceptionError) absent() bool { return e.code == 10 || e.code == 11 }

// attempt does one exchange, on RTU with one before it if an older answer could
// be taken for this one's.
func (m *master) attempt(ctx context.Context, q question) ([]byte, error) {
	if err := m.connect(ctx); err != nil {
		return nil, err
	}
	if m.config.TCP != "" {
		return m.count(m.line.exchange(ctx, q))
	}
	m.forget(q.unit, time.Now())
	if m.owes(q.unit, q.form()) {
		if err := m.catchUp(ctx, m.distinct(q)); err != nil {
			return nil, err
		}
	}
	return m.owing(ctx, q)
}

// owing does one exchange and keeps the account of answers that may still come.
// Slaves answer in the order of the questions, so an answer of a form that only
// this question has says that no older one is under way.
func (m *master) owing(ctx context.Context, q question) ([]byte, error) {
	before := len(m.owed[q.unit])
	m.owed[q.unit] = append(m.owed[q.unit], debt{q.form(), time.Now()})
	data, err := m.count(m.line.exchange(ctx, q))
	var exc *exceptionError
	switch {
	case err == nil:
		delete(m.owed, q.unit)
	case before == 0 && (errors.As(err, &exc) || errors.Is(err, errDamaged)):
		delete(m.owed, q.unit) // it was the answer, if no good one
	}
	return data, err
}

// catchUp asks something whose answer can't be an older one's. A refusal has no
// form of its own; after it, the line must stay silent for the time of an answer.
func (m *master) catchUp(ctx context.Context, q question) error {
	_, err := m.owing(ctx, q)
	var exc *exceptionError
	if !errors.As(err, &exc) {
		return err
	}
	if err := m.line.(*rtu).settle(ctx, m.config.Timeout); err != nil {
		return err
	}
	delete(m.owed, q.unit)
	return nil
}

// distinct returns a question like q whose answer has a form that is not owed:
// first fewer of the same registers, then more.
func (m *master) distinct(q question) question {
	step := 1
	if q.kind.isBit() {
		step = 8
	}
	n := (int(q.quantity) + step - 1) / step
	for k := n - 1; k >= 1; k-- {
		if c := q; m.fits(&c, k*step) {
			return c
		}
	}
	for k := n + 1; k*step <= q.limit(); k++ {
		if c := q; m.fits(&c, k*step) {
			return c
		}
	}
	// Owed are more than a hundred forms of one kind within a minute.
	q.kind = map[kind]kind{coil: discrete, discrete: coil, holding: input, input: holding}[q.kind]
	return q
}

// fits sets the quantity of q, moving it down from the end of the table if need
// be, and reports whether its form is not owed.
func (m *master) fits(q *question, quantity int) bool {
	q.quantity = uint16(quantity)
	q.address = uint16(min(int(q.address), 65536-quantity))
	return !m.owes(q.unit, q.form())
}

func (m *master) owes(unit uint8, f form) bool {
	for _, d := range m.owed[unit] {
		if d.form == f {
			return true
		}
	}
	return false
}

func (m *master) forget(unit uint8, now time.Time) {
	owed := m.owed[unit]
	for len(owed) > 0 && now.Sub(owed[0].since) > forgotten {
		owed = owed[1:]
	}
	m.owed[unit] = owed
}

// count watches whether anything at all comes over the wire.
func (m *master) count(data []byte, err error) ([]byte, error) {
	limit := staleSerial
	if m.config.TCP != "" {
		limit = staleTCP
	}
	if !errors.Is(err, errSilent) {
		m.silent = 0
	} else if m.silent++; m.silent >= limit {
		m.disconnect()
	}
	return data, err
}
