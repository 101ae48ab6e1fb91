package trace

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"testing"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
)

// wideMessages are n scans, a second apart.
func wideMessages(b testing.TB, s *protocol.Schema, n int) []*protocol.Message {
	msgs := make([]*protocol.Message, n)
	for i := range msgs {
		msgs[i] = streamtest.WideMessage(b, s, epochA, uint64(i+1), int64(1000*i))
	}
	return msgs
}

// BenchmarkLedger is all of the ledger's own work for an entry of 650 scans,
// from the payload to the file: decoding, rows, and a transaction each ten entries.
func BenchmarkLedger(b *testing.B) {
	sch := streamtest.WideSchema(b)
	lookup := func(protocol.SchemaID) *protocol.Schema { return sch }
	for name, msgs := range map[string][]*protocol.Message{"one-scan": wideMessages(b, sch, 650), "joined": protocol.Join(wideMessages(b, sch, 650), lookup)} {
		b.Run(name, func(b *testing.B) {
			st, err := openStore(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			m, err := newMetrics(nil)
			if err != nil {
				b.Fatal(err)
			}
			cfg := Config{}
			cfg.setDefaults()
			s := &Service{cfg: cfg, store: st, metrics: m, marks: map[protocol.Stage]contract.HopMark{}, gateways: map[protocol.Gateway]*gateway{}, sites: map[string]int64{}}
			k := &keeper{Service: s, pos: position{NextID: 1}, batch: batch{dirty: map[*gateway]bool{}}, passing: map[protocol.Stage][]passing{}}
			payload, err := protocol.EncodeBundle(msgs)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				n++
				in, err := protocol.DecodeBundle(payload)
				if err != nil {
					b.Fatal(err)
				}
				k.takeEntry(b.Context(), &stream.Entry{Sequence: n, Gateway: plantA, Messages: in, Tidemarks: "c0ffee00c0ffee01:1-650", SentMs: 1, ReceivedUs: 2, CommittedUs: 3}, lookup)
				if n%10 == 0 {
					if err := k.flush(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/65000, "ns/reading")
		})
	}
}

// BenchmarkQuery asks a ledger of many rows, each of one message; the number is
// taken from TRACE_BENCH_ROWS.
func BenchmarkQuery(b *testing.B) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("TRACE_BENCH_ROWS"), "100000"))
	if err != nil {
		b.Fatal(err)
	}
	st, err := openStore(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	s := &Service{store: st, gateways: map[protocol.Gateway]*gateway{}, sites: map[string]int64{}, pos: position{NextID: int64(n) + 1}}
	var gws []*gateway
	tx, err := st.Write.Begin()
	if err != nil {
		b.Fatal(err)
	}
	for i := range 50 {
		g := &gateway{id: int64(i + 1), site: int64(i/10 + 1), addr: protocol.Gateway{Site: fmt.Sprintf("site-%d", i/10), Name: fmt.Sprintf("gw-%d", i)}, factsChanged: true}
		gws, s.gateways[g.addr], s.sites[g.addr.Site] = append(gws, g), g, g.site
		if err := writeGateway(tx, g); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	for i := 1; i <= n; {
		var rows []*row
		for ; i <= n && len(rows) < maxBatch; i++ {
			g := gws[i%50]
			r := &row{id: int64(i), gateway: g, kind: protocol.TypeTelemetry, epoch: uint64(g.id), code: protocol.OK, sequence: uint64(i), committedUs: int64(i) * 1000}
			if i%5000 == 0 {
				r.kind = protocol.TypeEvent
			}
			r.add(item{seqs: protocol.SetOf(protocol.Range{First: uint64(i / 50), Last: uint64(i / 50)}), timeMs: int64(i), bytes: 500, readings: 100})
			rows = append(rows, r)
		}
		tx, err := st.Write.Begin()
		if err != nil {
			b.Fatal(err)
		}
		if err := writeRows(tx, rows); err != nil {
			b.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		q    contract.MessagesQuery
	}{
		{"newest", contract.MessagesQuery{}},
		{"site", contract.MessagesQuery{Site: "site-3"}},
		{"gateway-type", contract.MessagesQuery{Site: "site-0", Gateway: "gw-0", Type: "event"}},
		{"rejected", contract.MessagesQuery{ResponseCode: "rejected"}},
		{"time", contract.MessagesQuery{Site: "site-3", FromMs: int64(n / 10), ToMs: int64(n/10) + 1000}},
		{"deep-page", contract.MessagesQuery{Cursor: strconv.FormatInt(int64(n/7), 36)}},
		{"trace", contract.MessagesQuery{TraceID: protocol.TraceIDOf(7, uint64(n/100)).String()}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				r, err := s.queryMessages(b.Context(), &c.q)
				if err != nil || c.name != "rejected" && len(r.Messages) == 0 {
					b.Fatalf("%d messages, %v", len(r.Messages), err)
				}
			}
		})
	}
}
