package rule

import (
	"fmt"
	"testing"
	"time"

	"tidemark/cloud/stream"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
)

// BenchmarkRules is all of the service's own work for an entry of 650 scans of a
// hundred points, from the payload to the file, a transaction each ten entries:
// with rules on two points that change with each scan, and on none.
func BenchmarkRules(b *testing.B) {
	sch := streamtest.WideSchema(b)
	lookup := func(protocol.SchemaID) *protocol.Schema { return sch }
	for name, text := range map[string]string{
		"two-points": "rules: [{name: a, when: dev.p1 > 20.3 && dev.p2 > 20.0, for: 5s}, {name: b, when: dev.p2 > 99}]",
		"no-point":   "rules: [{name: a, when: x.y > 1}]"} {
		for _, joined := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/joined=%t", name, joined), func(b *testing.B) {
				rules, err := load(rulesIn(b, text))
				if err != nil {
					b.Fatal(err)
				}
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
				s := &Service{cfg: cfg, store: st, metrics: m, rules: rules, gateways: map[protocol.Gateway]*gateway{}, errors: map[string]string{}, wake: make(chan struct{}, 1)}
				e := &evaluator{Service: s, dirty: map[*gateway]bool{}}
				at := time.Now().UnixMilli()
				n := 0
				for b.Loop() {
					n++
					b.StopTimer()
					msgs := make([]*protocol.Message, 650)
					for i := range msgs {
						at += 1000
						msgs[i] = streamtest.WideMessage(b, sch, epochA, uint64(650*n+i), at)
					}
					if joined {
						msgs = protocol.Join(msgs, lookup)
					}
					payload, err := protocol.EncodeBundle(msgs)
					if err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					in, err := protocol.DecodeBundle(payload)
					if err != nil {
						b.Fatal(err)
					}
					e.take(b.Context(), &stream.Entry{Sequence: uint64(n), Gateway: plantA, Messages: in, CommittedUs: at * 1000}, lookup)
					if n%10 == 0 {
						if err := s.store.commit(e.position, e.dirty, e.out.alerts); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/65000, "ns/reading")
			})
		}
	}
}
