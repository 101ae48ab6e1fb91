package link_test

import (
	"io"
	"strings"
	"testing"

	"tidemark/agent/outbox"
	"tidemark/protocol"
)

// holds returns a function that says whether one of seqs is in a bundle.
func holds(seqs ...uint64) func([]*protocol.Message) bool {
	return func(msgs []*protocol.Message) bool {
		for _, m := range msgs {
			for _, s := range seqs {
				if m.Type != protocol.TypeSchema && m.Seqs().Contains(s) {
					return true
				}
			}
		}
		return false
	}
}

func lost(box *outbox.Outbox) (s protocol.Set) {
	for _, d := range box.Lost() {
		s.AddSet(d.Ranges)
	}
	return s
}

// named adds messages until seqs are named as lost: that the cloud takes others
// shows that the fault is in these.
func named(t *testing.T, box *outbox.Outbox, seqs string) {
	t.Helper()
	eventually(t, seqs+" are named as lost", func() bool {
		add(t, box, 1)
		return lost(box).String() == seqs
	})
}

func TestRefusedMessageIsFoundAndNamed(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	c.bad = holds(37, 251)
	last := add(t, box, 300)
	newGateway(t, c.addr, box, io.Discard)
	eventually(t, "all others are committed", func() (ok bool) {
		c.with(func() { ok = c.committed.Missing(1, last).String() == "37,251" })
		return ok
	})
	named(t, box, "37,251")
	for _, d := range box.Lost() {
		if d.Cause != protocol.CauseRefused || !strings.Contains(d.Text, "it makes no sense") {
			t.Errorf("named as %+v", d)
		}
	}
	head := box.Head()
	eventually(t, "the dropped messages arrive", c.has(last+1, head))
	next := add(t, box, 10)
	eventually(t, "what comes later arrives", c.has(head+1, next))
	c.with(func() {
		if c.refused > 60 {
			t.Errorf("%d bundles were refused for two messages", c.refused)
		}
	})
}

func TestCloudThatRefusesEverythingLosesNothing(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	c.bad = func([]*protocol.Message) bool { return true }
	add(t, box, 64)
	var log lockedBuffer
	newGateway(t, c.addr, box, &log)
	eventually(t, "it is told", func() bool { return log.has("the cloud refuses everything") })
	last := add(t, box, 20)
	if !lost(box).Empty() || !box.Acked().Empty() {
		t.Fatalf("given up %s, acknowledged %s", lost(box), box.Acked())
	}
	refused := 0
	c.with(func() { refused, c.bad = c.refused, nil })
	if refused > 40 {
		t.Errorf("%d bundles were sent to a cloud that refuses everything", refused)
	}
	eventually(t, "all arrives in the end", c.has(1, last))
	eventually(t, "it is told", func() bool { return log.has("the cloud takes bundles again") })
	if !lost(box).Empty() {
		t.Errorf("given up %s", lost(box))
	}
}

func TestRefusedPartsOutliveTheConnection(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	c.bad = holds(5)
	last := add(t, box, 64)
	newGateway(t, c.addr, box, io.Discard)
	eventually(t, "one is refused", func() (ok bool) { c.with(func() { ok = c.refused > 1 }); return ok })
	if cl, ok := c.server.Clients.Get(me.String()); ok {
		cl.Stop(io.ErrUnexpectedEOF)
	}
	eventually(t, "the others arrive", func() bool { return c.has(1, 4)() && c.has(6, last)() })
	named(t, box, "5")
	eventually(t, "what is later arrives", c.has(last+1, box.Head()))
}

func TestMessagesWhoseSchemaIsLostAreNamed(t *testing.T) {
	c, box := newCloud(t), newOutbox(t)
	last := add(t, box, 3)
	id := protocol.SchemaID{1, 2, 3}
	var orphan *protocol.Message
	stored, err := box.Read(0, last, 1<<20, protocol.Set{})
	if err != nil {
		t.Fatal(err)
	}
	if orphan, err = protocol.DecodeMessage(stored[0].Data); err != nil {
		t.Fatal(err)
	}
	known, err := orphan.SchemaOf()
	if err != nil {
		t.Fatal(err)
	}
	orphan.Body = []byte(strings.Replace(string(orphan.Body), string(known[:]), string(id[:]), 1))
	ticket, err := box.Append(t.Context(), orphan, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := ticket.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	newGateway(t, c.addr, box, io.Discard)
	eventually(t, "it is named", func() bool { return lost(box).String() == "4" })
	eventually(t, "the others arrive", c.has(1, last))
	eventually(t, "its name arrives", c.has(5, 5))
	if d := box.Lost()[0]; d.Cause != protocol.CauseCorrupt {
		t.Errorf("named as %+v", d)
	}
}
