package bus

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/contract"
)

// Streams that are opened again hold what they held, take more, and the connection of before serves on.
func TestStreamsOpenAgain(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 3; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		ack, err := b.JetStream().Publish(ctx, "device.a.b.up", []byte("x"), jetstream.WithExpectLastSequencePerSubject(n-1))
		for err != nil && ctx.Err() == nil { // not open yet
			ack, err = b.JetStream().Publish(ctx, "device.a.b.up", []byte("x"), jetstream.WithExpectLastSequencePerSubject(n-1))
		}
		cancel()
		if err != nil || ack.Sequence != n {
			t.Fatalf("publish %d: %+v, %v", n, ack, err)
		}
		if err := b.reopen(); err != nil {
			t.Fatal(err)
		}
		if cfg := b.server.JetStreamConfig(); cfg == nil || !cfg.SyncAlways {
			t.Fatalf("opened again without fsync: %+v", cfg)
		}
	}
	kv, err := b.JetStream().KeyValue(t.Context(), contract.BucketTidemarks)
	if err == nil {
		_, err = kv.Get(t.Context(), "a.b")
	}
	if !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("a bucket after opening again: %v", err)
	}
	if _, err := b.JetStream().CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "more", MaxBytes: 1 << 40}); err != nil {
		t.Errorf("a stream larger than the disk: %v", err)
	}
}

func TestStuckIsHeard(t *testing.T) {
	stuck := make(chan struct{}, 1)
	l := serverLog{slog.New(slog.DiscardHandler), stuck}
	l.Errorf("Filestore [%s] Critical write error: %v", "DEVICE", errors.New("no space left on device"))
	l.Errorf("Filestore [%s] Critical write error: %v", "DEVICE", errors.New("no space left on device"))
	if len(stuck) != 1 {
		t.Error("a stream that cannot write was not noticed")
	}
	<-stuck
	if l.Errorf("something else"); len(stuck) != 0 {
		t.Error("an error of another kind was taken for a stuck stream")
	}
}
