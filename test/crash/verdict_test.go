package crash

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/protocol"
)

// books is what the cloud holds.
type books struct {
	stream, warehouse *tally
	seqs              map[uint64]protocol.Set // in the stream's messages
	dropped           map[uint64]protocol.Set // named in dropped messages in the stream
	twice             []string                // seqs that the stream holds twice
	tidemarks         protocol.Tidemarks      // of the newest entry
	counted           int64                   // readings, as the API counts them
	state             contract.GatewayState   // as the API shows it
}

// compare returns every way in which the cloud is not what was promised; nil if there is none.
func compare(p *promised, b *books) (findings []string) {
	say := func(format string, args ...any) {
		if len(findings) < 40 {
			findings = append(findings, fmt.Sprintf(format, args...))
		}
	}
	for _, w := range [][]string{p.readings.wrong, b.stream.wrong, b.warehouse.wrong, b.twice} {
		for _, f := range w {
			say("%s", f)
		}
	}
	anyDropped := false
	for epoch, head := range p.epochs {
		anyDropped = anyDropped || !b.dropped[epoch].Empty()
		there := b.seqs[epoch].Clone()
		there.AddSet(b.dropped[epoch])
		if missing := there.Missing(1, head); head > 0 && !missing.Empty() {
			say("epoch %s: seqs %s were committed by the outbox, and are neither in the stream nor named lost", protocol.EpochString(epoch), missing)
		}
		if marks := b.tidemarks.Of(epoch); !marks.Equal(there) {
			say("epoch %s: the tidemark is %s, the stream holds or names lost %s", protocol.EpochString(epoch), marks, there)
		}
	}
	compareReadings(p, b, anyDropped, say)
	compareAccount(b, say)
	return findings
}

// compareReadings holds stream and warehouse against the outbox. An outbox commits in the order of the recording, so what is
// known to be committed, be it from the outbox or because it arrived, proves that all before it in that life was committed.
func compareReadings(p *promised, b *books, anyDropped bool, say func(string, ...any)) {
	for life := range max(len(p.readings.lives), len(b.stream.lives), len(b.warehouse.lives)) {
		end := max(p.readings.end(life), b.stream.end(life), b.warehouse.end(life))
		var lost, doubled, notStored, storedTwice, invented int
		for i := range end {
			s, w := b.stream.of(life, i), b.warehouse.of(life, i)
			switch {
			case s == 0 && !anyDropped:
				lost++
			case s > 1:
				doubled++
			}
			switch {
			case w == 0 && s > 0:
				notStored++
			case w > 1:
				storedTwice++
			case w > 0 && s == 0:
				invented++
			}
		}
		for _, c := range []struct {
			n    int
			what string
		}{{lost, "are not in the stream"}, {doubled, "are in the stream more than once"}, {notStored, "are in the stream but not in the warehouse"},
			{storedTwice, "are in the warehouse more than once"}, {invented, "are in the warehouse but not in the stream"}} {
			if c.n > 0 {
				say("life %d: %d of %d readings %s", life, c.n, end, c.what)
			}
		}
	}
	if b.counted != int64(b.stream.total) {
		say("the API counts %d readings, the stream holds %d", b.counted, b.stream.total)
	}
}

// compareAccount holds in = out + in flight + dropped + dead, as the API shows it, against the stream.
func compareAccount(b *books, say func(string, ...any)) {
	a := b.state.Account
	if a.In != a.Out+a.InFlight+a.Dropped+a.Dead {
		say("the account does not balance: %+v", a)
	}
	if len(b.state.Epochs) == 0 {
		say("the API shows no epoch")
		return
	}
	newest := b.state.Epochs[0]
	epoch, err := protocol.ParseEpoch(newest.Epoch)
	if err != nil {
		say("%v", err)
		return
	}
	if got := b.seqs[epoch].String(); got != newest.Ranges {
		say("the API shows the seqs %s, the stream holds %s", newest.Ranges, got)
	}
	if n := b.seqs[epoch].Count(); a.Out != n {
		say("the account has %d messages out, the stream holds %d", a.Out, n)
	}
	if a.InFlight != 0 {
		say("the account has %d messages in flight after all was drained", a.InFlight)
	}
	if n := b.dropped[epoch].Minus(b.seqs[epoch]).Count(); a.Dropped != n {
		say("the account has %d messages dropped, dropped messages name %d", a.Dropped, n)
	}
}

// audit reads all that the cloud holds of a gateway, once everything in the stream is stored.
func audit(t *testing.T, p *plan, c *cloud) *books {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	b := &books{stream: newTally(p), warehouse: newTally(p), seqs: map[uint64]protocol.Set{}, dropped: map[uint64]protocol.Set{}}
	last := b.readStream(ctx, t, p, c.nats)
	of := url.Values{"site": {p.site}, "gateway": {p.gateway}}
	until(t, time.Minute, "the warehouse and the ledger hold the whole stream", func() bool {
		c.mustRun()
		var n struct {
			Readings int64  `json:"readings"`
			Through  uint64 `json:"through"`
		}
		if err := c.get("/api/v1/readings/count?"+of.Encode(), &n); err != nil || n.Through < last {
			return false
		}
		b.counted = n.Readings
		b.state = contract.GatewayState{}
		if err := c.get("/api/v1/gateways/"+p.site+"/"+p.gateway, &b.state); err != nil || len(b.state.Epochs) == 0 {
			return false
		}
		return len(b.tidemarks) > 0 && b.state.Epochs[0].Ranges == b.seqs[b.tidemarks[0].Epoch].String()
	})
	b.readWarehouse(t, c, of)
	return b
}

// readStream reads the stream as it is now and returns its last sequence.
func (b *books) readStream(ctx context.Context, t *testing.T, p *plan, addr string) uint64 {
	t.Helper()
	last := readEntries(ctx, t, addr, func(e *stream.Entry, lookup protocol.LookupSchema) {
		if e.Gateway.Name == p.gateway {
			b.entry(t, e, lookup)
		}
	})
	if last == 0 {
		t.Fatal("the stream is empty")
	}
	return last
}

// readEntries visits every entry of the stream as it is now, and returns the last sequence, 0 if there is none.
func readEntries(ctx context.Context, t *testing.T, addr string, visit func(*stream.Entry, protocol.LookupSchema)) uint64 {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := nats.Connect("nats://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, contract.StreamDevice)
	if err != nil {
		t.Fatal(err)
	}
	last := s.CachedInfo().State.LastSeq
	if last == 0 {
		return 0
	}
	reader := stream.NewReader(js, slog.New(slog.DiscardHandler))
	found := make(chan *stream.Entry, 16)
	go func() { _ = reader.Run(ctx, 0, found) }() // it ends with ctx, without an error
	for e := range found {
		visit(e, reader.Lookup(ctx))
		if e.Sequence >= last {
			return last
		}
	}
	t.Fatal("the stream was not read to its end")
	return 0
}

func (b *books) entry(t *testing.T, e *stream.Entry, lookup protocol.LookupSchema) {
	t.Helper()
	if err := b.stream.messages(e.Messages, lookup); err != nil {
		t.Fatalf("entry %d of the stream: %v", e.Sequence, err)
	}
	for _, m := range e.Messages {
		if m.Type == protocol.TypeSchema {
			continue
		}
		have, seqs := b.seqs[m.Epoch].Clone(), m.Seqs()
		if seqs.Minus(have).Count() != seqs.Count() && len(b.twice) < 10 {
			b.twice = append(b.twice, fmt.Sprintf("entry %d of the stream holds seqs %s, some of which it held before", e.Sequence, seqs))
		}
		have.AddSet(seqs)
		b.seqs[m.Epoch] = have
		if m.Type == protocol.TypeDropped {
			var d protocol.Dropped
			if err := protocol.Unmarshal(m.Body, &d); err != nil {
				t.Fatal(err)
			}
			all := b.dropped[m.Epoch].Clone()
			all.AddSet(d.Ranges)
			b.dropped[m.Epoch] = all
		}
	}
	var err error
	if b.tidemarks, err = protocol.ParseTidemarks(e.Tidemarks); err != nil {
		t.Fatal(err)
	}
}

// readWarehouse reads every reading through the API, page by page.
func (b *books) readWarehouse(t *testing.T, c *cloud, of url.Values) {
	t.Helper()
	of.Set("limit", strconv.Itoa(20_000))
	for {
		var page struct {
			Readings []contract.Reading `json:"readings"`
			Next     string             `json:"next"`
		}
		if err := c.get("/api/v1/readings?"+of.Encode(), &page); err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Readings {
			if r.Quality != "good" {
				b.warehouse.fault("%s at %d is %s: %s", r.Point, r.TimeMs, r.Quality, r.Reason)
				continue
			}
			b.warehouse.add(r.Point, r.TimeMs, number(r.Value))
		}
		if page.Next == "" {
			return
		}
		of.Set("cursor", page.Next)
	}
}
