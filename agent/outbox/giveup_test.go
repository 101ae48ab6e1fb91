package outbox

import (
	"strings"
	"testing"
	"time"

	"tidemark/protocol"
)

func TestGiveUpNamesWhatIsLost(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), SegmentBytes: 64 << 10, Budget: 8 << 20, CommitInterval: time.Millisecond}
	o, end := start(t, cfg)
	appendN(t, o, 20, 100)
	if err := o.Ack(protocol.SetOf(protocol.Range{First: 1, Last: 4})); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing left to name
		if err := o.GiveUp(protocol.SetOf(protocol.Range{First: 4, Last: 5}, protocol.Range{First: 900, Last: 901}), protocol.CauseRefused, "The cloud refuses it."); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); len(o.Lost()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no dropped message was committed")
		}
	}
	lost := o.Lost()
	if len(lost) != 1 || lost[0].Ranges.String() != "5" || lost[0].Count != 1 || lost[0].Cause != protocol.CauseRefused || lost[0].FromMs == 0 ||
		!strings.HasPrefix(lost[0].Text, "The cloud") {
		t.Fatalf("lost %+v", lost)
	}
	end()
	o, end = start(t, cfg)
	defer end()
	got := readAll(t, o)
	if len(got) != 16 || got[0].Seq != 6 || got[15].Seq != 21 || got[15].Type != protocol.TypeDropped || o.State().Dropped != 1 {
		t.Fatalf("after a restart it reads %d messages and knows of %d dropped", len(got), o.State().Dropped)
	}
}
