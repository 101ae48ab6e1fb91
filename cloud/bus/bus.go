package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/contract"
)

// Config says which NATS to use.
type Config struct {
	// URL of an external NATS server; empty for the embedded one.
	URL string
	// Dir is the embedded JetStream's folder.
	Dir string
	// Listen is the loopback address at which the embedded server listens for
	// services in other processes, such as 127.0.0.1:4222; empty for none.
	Listen string
	// MaxAge is how long the streams keep what is in them; 0 for seven days.
	MaxAge time.Duration
	// MaxBytes bounds the device stream on disk; 0 for 16 GiB. The oldest goes first.
	MaxBytes int64
	Log      *slog.Logger
}

// MaxPayload is the largest NATS message of the embedded server, in bytes: a
// page of readings as JSON fits.
const MaxPayload = 8 << 20

// Bus is a connection to NATS, and the embedded server if there is one.
type Bus struct {
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
	cfg    Config

	stuck chan struct{} // told by the server's log
	end   chan struct{} // closed to end heal
	ended chan struct{}
	once  sync.Once
	js0   *server.JetStreamConfig // of the server when it was last open; only heal uses it
}

// Open starts the embedded server, if cfg asks for it, and connects.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 7 * 24 * time.Hour
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 16 << 30
	}
	b := &Bus{cfg: cfg}
	opts := []nats.Option{nats.Name("tidemark-cloud"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			cfg.Log.Warn("nats reports an error", "subject", subject, "err", err)
		})}
	url := cfg.URL
	if url == "" {
		if err := b.startServer(ctx); err != nil {
			return nil, err
		}
		opts = append(opts, nats.InProcessServer(b.server))
		url = nats.DefaultURL
	}
	var err error
	if b.conn, err = nats.Connect(url, opts...); err != nil {
		b.Close()
		return nil, fmt.Errorf("bus: connect to NATS at %s: %w; is the server up, and the address right?", url, err)
	}
	if b.js, err = jetstream.New(b.conn); err != nil {
		b.Close()
		return nil, fmt.Errorf("bus: %w", err)
	}
	return b, nil
}

func (b *Bus) startServer(ctx context.Context) error {
	// Left alone, the server allows itself three quarters of what is free on the disk when it starts, and refuses streams that
	// could need more: with a stream grown large, or on a small disk, the cloud would not come up. The streams have bounds of their own.
	const maxStore = 1 << 50
	opts := &server.Options{JetStreamMaxStore: maxStore, ServerName: "tidemark", JetStream: true, StoreDir: b.cfg.Dir, SyncAlways: true, NoSigs: true,
		NoLog: true, MaxPayload: MaxPayload, DontListen: true, DisableJetStreamBanner: true}
	if b.cfg.Listen != "" {
		host, port, err := net.SplitHostPort(b.cfg.Listen)
		if err != nil {
			return fmt.Errorf("bus: listen address %q: %w", b.cfg.Listen, err)
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("bus: NATS would listen on %s, which is not loopback; it has no authentication there, so use 127.0.0.1", host)
		}
		opts.DontListen, opts.Host = false, host
		if opts.Port, err = strconv.Atoi(port); err != nil {
			return fmt.Errorf("bus: listen address %q: %w", b.cfg.Listen, err)
		}
		if opts.Port == 0 {
			opts.Port = server.RANDOM_PORT
		}
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("bus: NATS in folder %s: %w", b.cfg.Dir, err)
	}
	b.stuck, b.end, b.ended = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	srv.SetLoggerV2(serverLog{b.cfg.Log, b.stuck}, false, false, false)
	srv.Start()
	for !srv.ReadyForConnections(50 * time.Millisecond) {
		if ctx.Err() != nil || !srv.Running() {
			srv.Shutdown()
			return fmt.Errorf("bus: NATS does not start on %q in folder %s; is the port taken, or the folder not writable?", b.cfg.Listen, b.cfg.Dir)
		}
	}
	b.server = srv
	go b.heal()
	return nil
}

// Conn returns the connection for publish, subscribe and requests.
func (b *Bus) Conn() *nats.Conn { return b.conn }

// JetStream returns the streams.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// URL returns where other processes reach the embedded server; empty if it
// does not listen, or is external.
func (b *Bus) URL() string {
	if b.server == nil || b.cfg.Listen == "" {
		return ""
	}
	return b.server.ClientURL()
}

// platformAge is how long alerts and dead letters are kept.
const platformAge = 30 * 24 * time.Hour

// maxLetters is how many dead letters of one gateway are kept: one that sends
// nothing else pushes out only its own.
const maxLetters = 2000

// schemaLives is how much longer than an entry of the device stream a schema is
// kept after it was written. The receiver writes one that is in use again at
// half of that, so it outlives every entry that needs it; those of agents that
// have started anew since go.
const schemaLives = 4

// Prepare makes the streams and buckets that are missing and brings the
// settings of the others up to date. Every process may call it.
func (b *Bus) Prepare(ctx context.Context) error {
	streams := []jetstream.StreamConfig{
		{Name: contract.StreamDevice, Subjects: []string{contract.SubjectsDevice}, MaxAge: b.cfg.MaxAge, MaxBytes: b.cfg.MaxBytes, AllowDirect: true, DenyDelete: true},
		{Name: contract.StreamPlatform, Subjects: []string{contract.SubjectsAlert}, MaxAge: platformAge, MaxBytes: 1 << 30, AllowDirect: true},
		{Name: contract.StreamDead, Subjects: []string{contract.SubjectsDead}, MaxAge: platformAge, MaxBytes: 1 << 30, MaxMsgsPerSubject: maxLetters, AllowDirect: true},
	}
	for _, c := range streams {
		if _, err := b.js.CreateOrUpdateStream(ctx, c); err != nil {
			return fmt.Errorf("bus: stream %s: %w", c.Name, err)
		}
	}
	for _, name := range []string{contract.BucketSchemas, contract.BucketPresence, contract.BucketTidemarks} {
		c := jetstream.KeyValueConfig{Bucket: name, History: 1, MaxValueSize: 1 << 20}
		if name == contract.BucketSchemas {
			c.TTL = schemaLives * b.cfg.MaxAge
		}
		if _, err := b.js.CreateOrUpdateKeyValue(ctx, c); err != nil {
			return fmt.Errorf("bus: bucket %s: %w", name, err)
		}
	}
	return nil
}

// Close disconnects, and stops the embedded server once all that it
// acknowledged is on disk.
func (b *Bus) Close() {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.server != nil {
		b.once.Do(func() { close(b.end) })
		<-b.ended
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// serverLog passes on what the embedded server warns of.
type serverLog struct {
	log   *slog.Logger
	stuck chan<- struct{}
}

func (l serverLog) Noticef(string, ...any) {}
func (l serverLog) Debugf(string, ...any)  {}
func (l serverLog) Tracef(string, ...any)  {}
func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn("nats server warns", "err", fmt.Sprintf(format, v...))
}
func (l serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if isStuck(text) {
		select {
		case l.stuck <- struct{}{}:
		default: // told already
		}
	}
	l.log.Error("nats server fails", "err", text)
}
func (l serverLog) Fatalf(format string, v ...any) {
	l.log.Error("nats server gives up", "err", fmt.Errorf(format, v...))
}

// IsWrongLastSequence reports whether err is JetStream's refusal of a publish
// whose expected last sequence was not the last.
func IsWrongLastSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}
