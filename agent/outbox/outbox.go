package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tidemark/protocol"
)

// Outbox is a gateway's durable queue. Its methods may be called at any time
// from any goroutine, except that Run runs once and Close comes after it.
//
//	seq   1 ......... acked ......... head ..... next
//	      deleted     |   to be sent  |  pending |
//	      segments    |   readable    |  memory  |
//
// Every seq up to next-1 is in exactly one place: acknowledged, in a segment,
// named lost in a dropped message, or pending.
type Outbox struct {
	cfg   Config
	log   *slog.Logger
	lock  *dirLock
	epoch uint64
	run   uint64
	wake  chan struct{} // tells Run that there is something to do

	io     sync.Mutex // held for work on files, taken before mu
	active *active    // the segment being written; nil until there is something to write
	saved  meta       // as last saved
	reuse  *segment   // checked and with room: to go on with
	metaDo *metaFiles

	reserved    bool // the reserve file is there
	reserveNext time.Time
	repairNext  time.Time
	repairErr   string // of the last repair, so that it is logged once
	thin        thinning
	noSync      bool   // for the test that shows that flushing matters
	reserveStep uint64 // how far ahead saveMeta reserves seqs
	reservedAt  time.Time

	mu           sync.Mutex
	next         uint64 // the seq of the next Append
	head         uint64 // the highest committed seq
	pending      []*Ticket
	pendingBytes int
	pendingSince time.Time
	urgent       bool
	room         chan struct{} // closed when pending shrinks
	changed      chan struct{} // closed after each commit
	acked        protocol.Set
	lost         protocol.Set       // named in dropped messages that are committed
	refused      protocol.Set       // given to GiveUp in this run
	reports      []protocol.Dropped // the newest of them
	dropped      uint64             // messages given up in this epoch
	thinned      uint64             // of them, those that others stand in for
	standIns     protocol.Set       // what stands in for others: it is not thinned again
	segments     []*segment         // by first seq; the last may be the active one
	schemas      map[protocol.SchemaID]*protocol.Schema
	aside        []quarantined
	ackDirty     bool // acked has grown since Run looked
	closed       bool
	fault        error            // why commits fail at present
	boot         protocol.Message // boot, monotonic time and clock of the newest message, for those the outbox makes
}

// Ticket is a message on its way to the disk.
type Ticket struct {
	seq    uint64
	data   []byte
	schema *protocol.Schema
	joined bool   // in one commit with the ticket before it
	then   func() // under mu, once it is committed
	done   chan struct{}
	err    error
}

// Wait returns when the message is committed: written, and flushed to the
// disk. It returns the context's error if that ends first (the message may
// still be committed), or why the outbox gave up when it closed.
func (t *Ticket) Wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Seq returns the seq that the message was given.
func (t *Ticket) Seq() uint64 { return t.seq }

// Open makes or recovers the outbox in cfg.Dir and locks the folder; another
// process that holds it is an [*InUseError]. It starts no goroutine. Damaged
// segments are no error: they are repaired once Run runs.
func Open(ctx context.Context, cfg Config) (*Outbox, error) {
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("outbox: make the folder: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	o := &Outbox{cfg: cfg, log: cfg.Log, lock: lock, wake: make(chan struct{}, 1), room: make(chan struct{}),
		changed: make(chan struct{}), schemas: map[protocol.SchemaID]*protocol.Schema{}}
	if err := o.recover(); err != nil {
		lock.release()
		return nil, err
	}
	return o, nil
}

// Epoch returns the random number of this outbox's lifetime, never 0.
func (o *Outbox) Epoch() uint64 { return o.epoch }

// RunNumber returns how many times the outbox has been opened, from 1.
func (o *Outbox) RunNumber() uint64 { return o.run }

// Append numbers m with the outbox's epoch and the next seq and queues it for
// the next commit; urgent asks for that at once. schema is the one that a
// telemetry message names; it is kept as long as the message is. While more
// than four times Config.CommitBytes are pending, Append blocks until a commit
// or the end of ctx. The message is safe only once [Ticket.Wait] says so.
func (o *Outbox) Append(ctx context.Context, m *protocol.Message, schema *protocol.Schema, urgent bool) (*Ticket, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.pendingBytes >= pendingFactor*o.cfg.CommitBytes && !o.closed {
		room := o.room
		o.mu.Unlock()
		o.kick()
		select {
		case <-room:
		case <-ctx.Done():
			o.mu.Lock()
			return nil, ctx.Err()
		}
		o.mu.Lock()
	}
	if o.closed {
		return nil, ErrClosed
	}
	return o.queue(m, schema, urgent)
}

// queue is Append under the lock, without waiting for room.
func (o *Outbox) queue(m *protocol.Message, schema *protocol.Schema, urgent bool) (*Ticket, error) {
	m.Epoch, m.Seq = o.epoch, o.next
	data, err := m.Encode()
	if err != nil {
		return nil, fmt.Errorf("outbox: append: %w", err)
	}
	if len(data) > protocol.MaxMessage {
		return nil, fmt.Errorf("outbox: append: a %s message of %d bytes is over the limit of %d; send it in smaller parts", m.Type, len(data), protocol.MaxMessage)
	}
	if schema == nil && m.Type == protocol.TypeTelemetry {
		if id, err := m.SchemaOf(); err == nil {
			schema = o.schemas[id]
		}
	}
	if schema != nil {
		o.schemas[schema.ID()] = schema
	}
	o.boot = protocol.Message{Boot: m.Boot, Mono: m.Mono, Clock: m.Clock}
	t := &Ticket{seq: o.next, data: data, schema: schema, done: make(chan struct{})}
	o.next++
	first := len(o.pending) == 0
	if first {
		o.pendingSince = time.Now()
	}
	o.pending = append(o.pending, t)
	o.pendingBytes += len(data)
	o.urgent = o.urgent || urgent
	if first || urgent || o.pendingBytes >= o.cfg.CommitBytes {
		o.kick()
	}
	return t, nil
}

// kick makes Run look again.
func (o *Outbox) kick() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Head returns the highest committed seq, 0 if there is none.
func (o *Outbox) Head() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.head
}

// Changed returns a channel that is closed after the next commit.
func (o *Outbox) Changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// Close commits what is pending, saves the state, and lets the folder go. It
// is called after Run has returned, and may be called twice.
func (o *Outbox) Close() error {
	o.io.Lock()
	defer o.io.Unlock()
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return nil
	}
	o.closed = true
	o.mu.Unlock()
	err := o.drain()
	if serr := o.sealActive(); err == nil {
		err = serr
	}
	o.mu.Lock()
	last := err == nil && len(o.pending) == 0
	for _, t := range o.pending {
		t.err = fmt.Errorf("outbox: not committed: %w", orClosed(err))
		close(t.done)
	}
	o.next -= uint64(len(o.pending)) // they were never published
	o.pending, o.pendingBytes = nil, 0
	close(o.room)
	o.mu.Unlock()
	if merr := o.saveMeta(last, 0); err == nil {
		err = merr
	}
	o.metaDo.close()
	o.lock.release()
	return err
}

func orClosed(err error) error {
	if err == nil {
		return ErrClosed
	}
	return err
}

func (o *Outbox) path(name string) string { return filepath.Join(o.cfg.Dir, name) }
