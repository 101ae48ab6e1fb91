package bus_test

import (
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/bus"
	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// A gateway whose every message is a dead letter pushes out its own, and
// neither alerts nor the letters of others.
func TestDeadLettersPushOutOnlyTheirOwn(t *testing.T) {
	b, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 2 { // every process prepares
		if err := b.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	js := b.JetStream()
	quiet, noisy := contract.DeadSubject(protocol.Gateway{Site: "a", Name: "quiet"}), contract.DeadSubject(protocol.Gateway{Site: "a", Name: "noisy"})
	for _, subject := range []string{contract.AlertSubject("a"), quiet} {
		if _, err := js.Publish(t.Context(), subject, []byte("kept")); err != nil {
			t.Fatal(err)
		}
	}
	var last jetstream.PubAckFuture
	for range 3000 {
		if last, err = js.PublishAsync(noisy, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-t.Context().Done():
		t.Fatal("not all was published")
	}
	select {
	case err := <-last.Err():
		t.Fatal(err)
	case <-last.Ok():
	}
	s, err := js.Stream(t.Context(), contract.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(contract.SubjectsDead))
	if err != nil {
		t.Fatal(err)
	}
	if n := info.State.Subjects; n[quiet] != 1 || n[noisy] != 2000 {
		t.Errorf("letters by gateway: %v", n)
	}
	alerts, err := js.Stream(t.Context(), contract.StreamPlatform)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alerts.GetLastMsgForSubject(t.Context(), contract.AlertSubject("a")); err != nil {
		t.Errorf("the alert: %v", err)
	}
}
