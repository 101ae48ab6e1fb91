package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"tidemark/agent/hops"
	"tidemark/protocol"
)

// Store is the outbox as the link sees it.
type Store interface {
	Epoch() uint64
	// Head returns the highest committed seq.
	Head() uint64
	// Changed is closed after the next commit.
	Changed() <-chan struct{}
	// Read returns committed messages with after < seq <= upTo that are not in
	// skip, in order, up to about maxBytes of encoded messages.
	Read(after, upTo uint64, maxBytes int, skip protocol.Set) ([]*protocol.Message, error)
	Schema(id protocol.SchemaID) *protocol.Schema
	// Ack says what the cloud has committed; nothing else deletes.
	Ack(committed protocol.Set) error
	// Acked returns what Ack was told, in all.
	Acked() protocol.Set
	// GiveUp names messages that can never be delivered as lost.
	GiveUp(seqs protocol.Set, cause, text string) error
}

// Observer hears about the connection. Its methods must not block.
type Observer interface {
	LinkUp()
	// LinkDown says which rung failed, as far as the connection itself knows.
	LinkDown(rung, text string)
}

// Config is what a link needs.
type Config struct {
	Broker  *url.URL
	Gateway protocol.Gateway
	// SendEvery is how long fresh messages are gathered before a bundle goes out.
	SendEvery time.Duration
	// FirstSession is the number of the first connection; they count up from it.
	FirstSession uint64
	// Presence is the birth to announce, without session and time.
	Presence protocol.Presence
	Observer Observer
	Hops     *hops.Recorder
	Log      *slog.Logger
	// KeepAlive is the MQTT keep-alive, 0 for 20 s.
	KeepAlive time.Duration
}

// Timing of the link.
const (
	ackTimeout   = 15 * time.Second // after which a bundle is sent again
	maxBirths    = 4                // unanswered, after which another connection is tried
	firstAckWait = 3 * time.Second  // for the tidemark after a birth, before it is asked for again
	minBackoff   = 100 * time.Millisecond
	// A SYN is sent again after 1 s and 3 s (RFC 6298 section 2): within this
	// time a way that has come back is found.
	dialTimeout = 4 * time.Second
)

// Link is the connection to the receiver.
type Link struct {
	cfg   Config
	store Store

	mu      sync.Mutex
	client  *paho.Client // nil while there is no tidemark yet
	session uint64
	headAt  uint64 // head of the outbox when the connection came up
	flight  flight
	apart   apart
	// What was told, and is not told again until it has passed.
	late     bool // acks come late
	copied   bool // the cloud has more than the outbox ever held
	barred   bool // the broker refuses the topics
	schemas  map[protocol.SchemaID]schemaState
	wake     chan struct{}
	stats    stats
	lastSent time.Time // of a fresh bundle
	conn     *autopaho.ConnectionManager
	bornAt   time.Time // when the birth was announced last on conn; zero: not yet
	births   int       // announced on conn without an answer
	socket   net.Conn  // of the newest connection
	dropped  bool      // by us, since no receiver answers
}

type schemaState uint8

const (
	schemaSent      schemaState = 1 + iota // in a bundle that is not acknowledged
	schemaConfirmed                        // the cloud committed telemetry that needs it
)

// New returns a link; it starts nothing.
func New(cfg Config, store Store) *Link {
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = 20 * time.Second
	}
	return &Link{cfg: cfg, store: store, session: cfg.FirstSession - 1, schemas: map[protocol.SchemaID]schemaState{},
		wake: make(chan struct{}, 1), flight: newFlight(), stats: stats{since: time.Now()}}
}

// Run keeps the connection and sends until ctx is done; then it says goodbye.
func (l *Link) Run(ctx context.Context) error {
	cm, err := autopaho.NewConnection(context.WithoutCancel(ctx), l.mqttConfig())
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	l.send(ctx)
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	l.goodbye(bye, cm)
	if err := cm.Disconnect(bye); err != nil {
		l.cfg.Log.Debug("disconnect", "err", err)
	}
	return nil
}

func (l *Link) mqttConfig() autopaho.ClientConfig {
	return autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{l.cfg.Broker},
		KeepAlive:                     uint16(l.cfg.KeepAlive / time.Second),
		CleanStartOnInitialConnection: true,
		ConnectTimeout:                10 * time.Second,
		ReconnectBackoff:              backoff,
		AttemptConnection:             l.dial,
		ConnectPacketBuilder: func(c *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			c.CleanStart = true // nothing is kept in sessions
			l.newSession(c)
			return c, nil
		},
		OnConnectionUp:   func(cm *autopaho.ConnectionManager, _ *paho.Connack) { l.up(cm) },
		OnConnectionDown: func() bool { l.down(); return true },
		OnConnectError:   l.refused,
		ClientConfig: paho.ClientConfig{
			ClientID:      l.cfg.Gateway.String(),
			PacketTimeout: ackTimeout,
			Session:       newSession(),
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
				l.received(p)
				return true, nil
			}},
		},
	}
}

// backoff returns how long to wait before connection attempt n. For some
// minutes it stays near a second, so that a link that is back is used at once;
// then the fleet of a cloud that is down must not hammer it.
func backoff(n int) time.Duration {
	const quick = 300
	var most time.Duration
	switch {
	case n == 0:
		return 0
	case n < 4:
		most = minBackoff << n
	case n < quick:
		most = time.Second
	default:
		most = 10 * time.Second
	}
	return most/2 + rand.N(most/2) // spread, so that gateways do not move as one
}

// dial connects over TCP and counts what passes.
func (l *Link) dial(ctx context.Context, _ autopaho.ClientConfig, u *url.URL) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, Control: giveUpEarly}
	c, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.socket = &countingConn{Conn: c, stats: &l.stats}
	return l.socket, nil
}

// up hands a new connection to the sender.
func (l *Link) up(cm *autopaho.ConnectionManager) {
	l.mu.Lock()
	l.conn, l.bornAt, l.births = cm, time.Time{}, 0
	l.headAt = l.store.Head()
	l.mu.Unlock()
	l.poke()
}

func (l *Link) down() {
	l.mu.Lock()
	wasUp := l.client != nil
	rung, text := protocol.RungTCP, "the connection was lost"
	if l.dropped {
		rung, text = protocol.RungAck, "no receiver answers; connecting again"
	}
	l.client, l.conn, l.dropped = nil, nil, false
	l.flight.clear(l.apart.again)
	for id, s := range l.schemas {
		if s != schemaConfirmed {
			delete(l.schemas, id)
		}
	}
	l.stats.setOnline(false)
	l.mu.Unlock()
	if wasUp {
		l.cfg.Log.Warn("the link is down", "broker", l.cfg.Broker.Redacted())
	}
	l.cfg.Observer.LinkDown(rung, text)
}

// refused hears of each connection attempt that failed.
func (l *Link) refused(err error) {
	rung := protocol.RungTCP
	var connack *autopaho.ConnackError
	var dns *net.DNSError
	switch {
	case errors.As(err, &connack):
		rung = protocol.RungConnack
	case errors.As(err, &dns):
		rung = protocol.RungDNS
	}
	l.cfg.Observer.LinkDown(rung, err.Error())
}
