package agent

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"tidemark/agent/outbox"
	"tidemark/protocol"
)

func TestMessageThatDoesNotDecodeBlocksNothing(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	box, err := outbox.Open(t.Context(), outbox.Config{Dir: t.TempDir(), CommitInterval: time.Millisecond, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- box.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	}()
	var ticket *outbox.Ticket
	for i := range 3 {
		e := protocol.Event{Code: "test", Text: "a test"}
		m := &protocol.Message{Type: protocol.TypeEvent, Time: 1, Boot: 1, Body: e.Encode()}
		if i == 1 {
			m.RequestID = "\xff" // which an encoder takes and a decoder does not
		}
		if ticket, err = box.Append(ctx, m, nil, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := ticket.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := store{box, log}.Read(0, 3, 1<<20, protocol.Set{})
	if err != nil || len(got) != 2 || got[0].Seq != 1 || got[1].Seq != 3 {
		t.Fatalf("read %d messages: %v", len(got), err)
	}
	for end := time.Now().Add(10 * time.Second); len(box.Lost()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not named as lost")
		}
	}
	if d := box.Lost()[0]; d.Ranges.String() != "2" || d.Cause != protocol.CauseCorrupt {
		t.Errorf("named as %+v", d)
	}
}
