package outbox

import (
	"context"
	"testing"
	"time"

	"tidemark/protocol"
)

// A segment that an outbox goes on with holds schemas of the run before: what names them could not be sent otherwise.
func TestSchemaOfAnEarlierRun(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), CommitInterval: time.Millisecond}
	ids := make([]protocol.SchemaID, 3)
	for run := range ids {
		s, err := protocol.NewSchema([]protocol.Point{{Name: "a.b", Base: int64(run)}}, []int{1})
		if err != nil {
			t.Fatal(err)
		}
		ids[run] = s.ID()
		b := protocol.NewBuilder(s)
		if err := b.Add([]int64{1}, []protocol.Reading{{Value: protocol.FloatValue(1)}}); err != nil {
			t.Fatal(err)
		}
		m := &protocol.Message{Type: protocol.TypeTelemetry, Time: 1, Boot: 7}
		if m.Body, err = b.Body(1); err != nil {
			t.Fatal(err)
		}
		o, end := start(t, cfg)
		ticket, err := o.Append(context.Background(), m, s, true)
		if err == nil {
			err = ticket.Wait(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := len(o.Segments()); n != 1 {
			t.Fatalf("%d segments: the run before was not gone on with", n)
		}
		for earlier, id := range ids[:run+1] {
			if got := o.Schema(id); got == nil || got.ID() != id {
				t.Errorf("run %d does not know the schema of run %d", run, earlier)
			}
		}
		end()
	}
	o, end := start(t, cfg)
	defer end()
	if o.Schema(protocol.SchemaID{1}) != nil {
		t.Error("a schema that nobody appended")
	}
}
