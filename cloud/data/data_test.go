package data

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
)

// station is a warehouse on a bus of its own, and what feeds it as the
// receiver does.
type station struct {
	t    testing.TB
	dir  string
	bus  *bus.Bus
	cfg  Config
	log  *slog.Logger
	stop func()
}

func newStation(t testing.TB, cfg Config) *station {
	t.Helper()
	st := &station{t: t, dir: t.TempDir(), cfg: cfg}
	st.openBus()
	st.start()
	t.Cleanup(func() {
		st.stop()
		st.bus.Close()
	})
	return st
}

func (st *station) openBus() {
	st.t.Helper()
	log := slog.New(slog.NewTextHandler(st.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, bus.Config{Dir: st.dir + "/bus", Log: log})
	if err == nil {
		err = b.Prepare(ctx)
	}
	if err != nil {
		st.t.Fatal(err)
	}
	st.bus = b
	st.log = log
	st.cfg.Log, st.cfg.Dir = log, st.dir+"/data"
}

// start runs the service until stop.
func (st *station) start() {
	st.t.Helper()
	svc, err := New(st.cfg, st.bus.Conn(), st.bus.JetStream())
	if err != nil {
		st.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	st.stop = func() {
		st.t.Helper()
		cancel()
		if err := <-done; err != nil {
			st.t.Error(err)
		}
		st.stop = func() {}
	}
}

// publish commits messages as a bundle and returns its position.
func publish(t testing.TB, js jetstream.JetStream, g protocol.Gateway, msgs ...*protocol.Message) uint64 {
	t.Helper()
	return streamtest.Publish(t, js, g, nil, msgs...)
}

// ask puts a question to the service and decodes the answer.
func ask[R any](t testing.TB, st *station, subject string, q any) R {
	t.Helper()
	return streamtest.Ask[R](t, st.bus.Conn(), subject, q)
}

// reach waits until the answers include a position.
func (st *station) reach(position uint64) contract.CountResult {
	st.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; {
		r := ask[contract.CountResult](st.t, st, contract.ReqCount, contract.CountQuery{})
		if r.Problem != nil {
			st.t.Fatal(r.Problem)
		}
		if r.Through >= position {
			return r
		}
		if time.Now().After(deadline) {
			st.t.Fatalf("position %d is not reached: %+v", position, r)
		}
	}
}

var gw = protocol.Gateway{Site: "plant", Name: "gw-1"}

// feed makes messages of one schema.
type feed struct {
	t      testing.TB
	schema *protocol.Schema
	seq    uint64
	clock  protocol.ClockQuality
	boot   uint64
	mono   uint64
}

func newFeed(t testing.TB, js jetstream.JetStream, points ...protocol.Point) *feed {
	t.Helper()
	s, err := protocol.NewSchema(points, nil)
	if err != nil {
		t.Fatal(err)
	}
	streamtest.PutSchema(t, js, s)
	return &feed{t: t, schema: s, clock: protocol.ClockSynced, boot: 7}
}

// message returns a message of scans at the given times.
func (f *feed) message(times []int64, scans ...[]protocol.Reading) *protocol.Message {
	f.t.Helper()
	b := protocol.NewBuilder(f.schema)
	for i, r := range scans {
		if err := b.Add([]int64{times[i]}, r); err != nil {
			f.t.Fatal(err)
		}
	}
	f.seq++
	m := &protocol.Message{Type: protocol.TypeTelemetry, Epoch: 1, Seq: f.seq, Time: times[len(times)-1], Boot: f.boot, Mono: f.mono, Clock: f.clock}
	var err error
	if m.Body, err = b.Body(m.Time); err != nil {
		f.t.Fatal(err)
	}
	return m
}

func one(v float64) []protocol.Reading {
	return []protocol.Reading{{Value: protocol.FloatValue(v)}}
}
