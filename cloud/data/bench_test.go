package data

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"tidemark/cloud/stream"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
	"tidemark/test/dataset"
)

// plantFeed makes bundles of the reference data set.
type plantFeed struct {
	schema *protocol.Schema
	gen    *dataset.Gen
	first  int64 // time of the first reading
	seq    uint64
}

func newPlantFeed(t testing.TB) *plantFeed {
	t.Helper()
	p := &plantFeed{gen: dataset.NewGen(dataset.DefaultSeed)}
	var points []protocol.Point
	var groups []int
	for i := range dataset.Tags {
		tag := &dataset.Tags[i]
		pt := protocol.Point{Name: tag.Device + "." + tag.Point}
		if tag.IsInt {
			pt.Kind = protocol.Int
		} else {
			pt.Scale = protocol.Scale{Num: 1, Den: 10}
		}
		points, groups = append(points, pt), append(groups, 1)
	}
	var err error
	if p.schema, err = protocol.NewSchema(points, groups); err != nil {
		t.Fatal(err)
	}
	return p
}

// message returns the next scans.
func (p *plantFeed) message(t testing.TB, scans int) *protocol.Message {
	b := protocol.NewBuilder(p.schema)
	var at int64
	for range scans {
		var times []int64
		var reads []protocol.Reading
		for _, r := range p.gen.Sweep() {
			v := protocol.FloatValue(r.F)
			if r.IsInt {
				v = protocol.IntValue(r.I)
			}
			times, reads = append(times, r.TsMs), append(reads, protocol.Reading{Value: v})
			if at = r.TsMs; p.first == 0 {
				p.first = at
			}
		}
		if err := b.Add(times, reads); err != nil {
			t.Fatal(err)
		}
	}
	p.seq++
	body, err := b.Body(at)
	if err != nil {
		t.Fatal(err)
	}
	return &protocol.Message{Type: protocol.TypeTelemetry, Epoch: 9, Seq: p.seq, Time: at, Boot: 3, Clock: protocol.ClockSynced, Body: body}
}

func (p *plantFeed) lookup(id protocol.SchemaID) *protocol.Schema { return p.schema }

// BenchmarkStore is what a reading costs from the bundle as it stands in the
// stream to the file, in CPU time of the whole process.
func BenchmarkStore(b *testing.B) {
	for _, c := range []struct {
		name         string
		msgs, scans  int
		joined, many bool
	}{{name: "bundle", msgs: 600, scans: 1, joined: true}, {name: "messages", msgs: 1, scans: 10}, {name: "scans", msgs: 1, scans: 1}} {
		b.Run(c.name, func(b *testing.B) {
			st := newStation(b, Config{FlushInterval: time.Hour})
			st.stop()
			p := newPlantFeed(b)
			streamtest.PutSchema(b, st.bus.JetStream(), p.schema)
			svc, err := New(st.cfg, st.bus.Conn(), st.bus.JetStream())
			if err != nil {
				b.Fatal(err)
			}
			defer svc.close()
			var payloads [][]byte
			readings := c.msgs * c.scans * 100
			for range max(1, min(200, 500_000/readings)) {
				var msgs []*protocol.Message
				for range c.msgs {
					msgs = append(msgs, p.message(b, c.scans))
				}
				if c.joined {
					msgs = protocol.Join(msgs, p.lookup)
				}
				payload, err := protocol.EncodeBundle(msgs)
				if err != nil {
					b.Fatal(err)
				}
				payloads = append(payloads, payload)
			}
			n, before := 0, cpu()
			ctx := context.Background()
			flush := func() {
				svc.beginFlushIn(b)
			}
			for b.Loop() {
				msgs, err := protocol.DecodeBundle(payloads[n%len(payloads)])
				if err != nil {
					b.Fatal(err)
				}
				n++
				e := &stream.Entry{Sequence: uint64(n), Gateway: protocol.Gateway{Site: "plant", Name: fmt.Sprint("gw-", n%4)}, Messages: msgs, CommittedUs: time.Now().UnixMicro()}
				if err := svc.apply(ctx, e); err != nil {
					b.Fatal(err)
				}
				if svc.head.readings >= 500_000 {
					flush()
				}
			}
			flush()
			b.ReportMetric(float64(cpu()-before)/float64(n*readings), "cpu-ns/reading")
		})
	}
}

// beginFlushIn flushes in the caller's goroutine.
func (s *Service) beginFlushIn(b *testing.B) {
	if s.head.last == 0 {
		return
	}
	s.mu.Lock()
	h := s.head
	for _, ser := range h.touched {
		ser.flushing, ser.head = ser.head, nil
	}
	s.flushing, s.head = &h, batch{}
	s.mu.Unlock()
	if err := s.flush(&h); err != nil {
		b.Fatal(err)
	}
	s.finish()
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
