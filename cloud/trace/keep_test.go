package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
)

// TestItemsRoundTrip holds parseItems against appendItem.
func TestItemsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []item
		var b []byte
		var prev item
		for range rapid.IntRange(1, 20).Draw(t, "items") {
			it := item{timeMs: rapid.Int64().Draw(t, "time"), bytes: rapid.IntRange(0, 1<<20).Draw(t, "bytes"), readings: rapid.IntRange(0, 1<<16).Draw(t, "readings")}
			for range rapid.IntRange(0, 4).Draw(t, "ranges") {
				first := rapid.Uint64Range(1, 1<<40).Draw(t, "first")
				it.seqs.Add(first, first+rapid.Uint64Range(0, 100).Draw(t, "more"))
			}
			b = appendItem(b, &it, &prev)
			want, prev = append(want, it), it
		}
		got, err := parseItems(b, len(want))
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !got[i].seqs.Equal(want[i].seqs) || got[i].timeMs != want[i].timeMs || got[i].bytes != want[i].bytes || got[i].readings != want[i].readings {
				t.Fatalf("item %d: %+v, not %+v", i, got[i], want[i])
			}
		}
		for n := range b { // a row cut short is damaged, and no more
			if _, err := parseItems(b[:n], len(want)); err == nil {
				t.Fatalf("%d of %d bytes are taken for whole", n, len(b))
			}
		}
	})
}

// TestAccountBalances holds the account for sets that overlap in any way.
func TestAccountBalances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		committed, dropped, dead := map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}
		var c, dr, de protocol.Set
		for seq := uint64(1); seq <= 40; seq++ {
			switch k := rapid.IntRange(0, 9).Draw(t, "what"); {
			case k < 5:
				committed[seq] = true
				c.Add(seq, seq)
				if k == 0 {
					dead[seq] = true
					de.Add(seq, seq)
				}
				if k == 1 {
					dropped[seq] = true
					dr.Add(seq, seq)
				}
			case k < 7:
				dropped[seq] = true
				dr.Add(seq, seq)
			}
		}
		next := rapid.Uint64Range(0, 60).Draw(t, "next")
		a := account(c, dr, de, next)
		if a.In != a.Out+a.InFlight+a.Dropped+a.Dead {
			t.Fatalf("does not balance: %+v", a)
		}
		var want contract.Account
		top := max(c.Max(), dr.Max(), de.Max(), max(next, 1)-1)
		for seq := uint64(1); seq <= top; seq++ {
			want.In++
			switch {
			case dead[seq]:
				want.Dead++
			case dropped[seq]:
				want.Dropped++
			case committed[seq]:
				want.Out++
			default:
				want.InFlight++
			}
		}
		if a != want {
			t.Fatalf("account %+v, want %+v", a, want)
		}
	})
}

// TestRetention removes by age and by number, in order, and what is left is
// found as before.
func TestRetention(t *testing.T) {
	l := newLab(t)
	sch := schemaAB(t)
	l.PutSchema(sch)
	s, stop := l.start(Config{Dir: t.TempDir(), CommitEvery: 10 * time.Millisecond})
	var last uint64
	for i := range uint64(300) {
		last = l.Commit(plantA, telemetry(t, sch, epochA, 2*i+1, int64(i)), telemetry(t, sch, epochA, 2*i+2, int64(i)))
	}
	l.written(s, last)
	for through := uint64(10); through <= last; through += 10 {
		l.mark(protocol.Stored, through, int64(through))
	}
	streamtest.Eventually(t, "the marks are written", func() bool { us, _ := s.markOf(t.Context(), protocol.Stored, last); return us == int64(last) })
	if n, err := s.store.retire(time.Now().Add(-time.Hour), 101); err != nil || n != 50 {
		t.Fatalf("retired %d rows, %v", n, err)
	}
	if n, err := s.store.retire(time.Now().Add(-time.Hour), 101); err != nil || n != 0 {
		t.Fatalf("retired %d rows more, %v", n, err)
	}
	if r := ask[contract.MessagesResult](l, contract.ReqMessages, contract.MessagesQuery{Limit: 1000}); len(r.Messages) != 500 || r.Messages[499].Seqs != "101" {
		t.Fatalf("%d messages left, the oldest %+v", len(r.Messages), r.Messages[len(r.Messages)-1])
	}
	if us, err := s.markOf(t.Context(), protocol.Stored, 51); us != 60 || err != nil {
		t.Errorf("mark of what is left: %d, %v", us, err)
	}
	old := ask[contract.TraceResult](l, contract.ReqTrace, contract.TraceQuery{TraceID: protocol.TraceIDOf(epochA, 3).String()})
	if !strings.HasPrefix(old.Where, "committed: it is within the tidemark of gateway harbour/gw-1") {
		t.Errorf("where of what was removed: %s", old.Where)
	}
	if n, err := s.store.retire(time.Now().Add(time.Hour), 0); err != nil || n != 250 {
		t.Fatalf("retired %d rows by age, %v", n, err)
	}
	stop()
	// Numbers are not used again after all rows are gone.
	s, _ = l.start(Config{Dir: s.cfg.Dir, CommitEvery: 10 * time.Millisecond})
	l.written(s, l.Commit(plantA, telemetry(t, sch, epochA, 601, 1)))
	if r := ask[contract.MessagesResult](l, contract.ReqMessages, contract.MessagesQuery{}); len(r.Messages) != 1 || s.pos.NextID != 602 {
		t.Errorf("%d messages, next number %d", len(r.Messages), s.pos.NextID)
	}
}

// TestDataServiceBehind asks where a message is while the data service is
// behind, or has stored it unheard.
func TestDataServiceBehind(t *testing.T) {
	l := newLab(t)
	sch := schemaAB(t)
	l.PutSchema(sch)
	reg := prometheus.NewRegistry()
	s, _ := l.start(Config{Dir: t.TempDir(), CommitEvery: 10 * time.Millisecond, Metrics: reg})
	var last uint64
	for i := range uint64(5) {
		last = l.Commit(plantA, telemetry(t, sch, epochA, i+1, int64(i)))
	}
	l.written(s, last)
	through := make(chan uint64, 1)
	sub, err := l.Bus.Conn().Subscribe(contract.ReqSeries, func(m *nats.Msg) {
		b, _ := json.Marshal(contract.SeriesResult{Freshness: contract.Freshness{Through: <-through}})
		_ = m.Respond(b)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the test ends
	where := func(n uint64) string {
		through <- n
		return ask[contract.TraceResult](l, contract.ReqTrace, contract.TraceQuery{TraceID: protocol.TraceIDOf(epochA, 4).String()}).Where
	}
	if w := where(2); w != "committed, not stored yet: the data service is 3 bundles behind" {
		t.Errorf("behind: %s", w)
	}
	if w := where(4); !strings.HasPrefix(w, "stored, at a time") {
		t.Errorf("stored unheard: %s", w)
	}
	// Marks that are none do nothing; the first that covers it counts, however many follow.
	for _, bad := range []string{"{", `{"stage":"stored"}`, `{"stage":"received","through":9,"time_us":1}`, `{"stage":"stored","through":-1,"time_us":1}`} {
		if err := l.Bus.Conn().Publish(contract.SubjectHop+"stored", []byte(bad)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().UnixMicro()
	l.mark(protocol.Ruled, last, now)
	l.mark(protocol.Stored, 4, now+1)
	l.mark(protocol.Stored, 5, now+1_000_000)
	l.mark(protocol.Stored, 3, now+2_000_000)
	streamtest.Eventually(t, "marks and refusals are counted", func() bool {
		return gathered(t, reg, "tidemark_trace_refused_marks_total")[""] == 4 && s.newestMark(protocol.Stored) == 5
	})
	r := ask[contract.TraceResult](l, contract.ReqTrace, contract.TraceQuery{TraceID: protocol.TraceIDOf(epochA, 4).String()})
	if r.Hops[6].Stage != "stored" || r.Hops[6].TimeUs != now+1 || !strings.HasSuffix(r.Where, "everything passed") {
		t.Errorf("hops %+v, %s", r.Hops, r.Where)
	}
	if got := fmt.Sprint(gathered(t, reg, "tidemark_action_duration_seconds")); got != "map[committed:5 received:5 ruled:5 sent:5 served:0 stored:5]" {
		t.Errorf("observations %s", got)
	}
}

func (s *Service) newestMark(st protocol.Stage) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.marks[st].Through
}

// TestPresenceAndSnapshot shows gateways that have no entry in the ledger.
func TestPresenceAndSnapshot(t *testing.T) {
	l := newLab(t)
	put := func(bucket string, g protocol.Gateway, v any) {
		kv, err := l.Bus.JetStream().KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(v)
		if _, err := kv.Put(t.Context(), contract.Key(g), b); err != nil {
			t.Fatal(err)
		}
	}
	put(contract.BucketTidemarks, plantB, contract.TidemarkSnapshot{Tidemarks: "000000000000000b:1-7,9", Sequence: 99})
	_, _ = l.start(Config{Dir: t.TempDir()})
	put(contract.BucketPresence, plantA, contract.Presence{Online: true, Session: 4, Since: 1234, Agent: "0.9", Epoch: protocol.EpochString(epochA)})
	streamtest.Eventually(t, "both gateways are known", func() bool {
		r := ask[contract.GatewaysResult](l, contract.ReqGateways, contract.GatewaysQuery{})
		return len(r.Gateways) == 2 && r.Gateways[0].Online && r.Gateways[0].Session == 4 && r.Gateways[0].SinceMs == 1234 && r.Gateways[0].Agent == "0.9" &&
			r.Gateways[1].Account == contract.Account{In: 9, Out: 8, InFlight: 1} && r.Gateways[1].Epochs[0].Ranges == "1-7,9"
	})
	for trace, want := range map[protocol.TraceID]string{
		protocol.TraceIDOf(0xb, 8):    "not in the stream: gateway mill/gw-1 has committed up to seq 9, this is seq 8: still in its outbox or lost there; it is offline",
		protocol.TraceIDOf(epochA, 1): "not in the stream: gateway harbour/gw-1 has committed up to seq 0, this is seq 1: still in its outbox or lost there; it is online",
	} {
		if r := ask[contract.TraceResult](l, contract.ReqTrace, contract.TraceQuery{TraceID: trace.String()}); r.Where != want {
			t.Errorf("where is %q, want %q", r.Where, want)
		}
	}
}

// TestNewStream starts over when the stream was made anew.
func TestNewStream(t *testing.T) {
	sch := schemaAB(t)
	dir := t.TempDir()
	for round := range 2 {
		l := newLab(t)
		l.PutSchema(sch)
		s, stop := l.start(Config{Dir: dir, CommitEvery: 10 * time.Millisecond})
		var last uint64
		for i := range uint64(3) {
			last = l.Commit(plantA, telemetry(t, sch, uint64(time.Now().UnixNano()), i+1, int64(i)))
		}
		streamtest.Eventually(t, "the messages are in the ledger", func() bool { // the position says nothing yet: it was ahead
			r := ask[contract.MessagesResult](l, contract.ReqMessages, contract.MessagesQuery{Limit: 1000})
			return len(r.Messages) == 3*(round+1)
		})
		l.written(s, last)
		stop()
		if err := shorten(dir); err != nil {
			t.Fatal(err)
		}
	}
	st, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var n int
	if err := st.Read.QueryRow(`SELECT SUM(count) FROM message`).Scan(&n); err != nil || n != 6 {
		t.Errorf("%d messages, %v", n, err)
	}
}

// shorten lets the ledger believe that it has read further than any stream is long.
func shorten(dir string) error {
	st, err := openStore(dir)
	if err != nil {
		return err
	}
	defer st.Close()
	_, err = st.Write.Exec(`UPDATE position SET device = 1000`)
	return err
}

// TestOpenMistakes says what is wrong with a folder or a file.
func TestOpenMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(filepath.Join(file, "sub")); err == nil || !strings.Contains(err.Error(), "folder of the ledger") {
		t.Errorf("a file for a folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "trace.db"), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), "trace.db") {
		t.Errorf("no database: %v", err)
	}
	newer := t.TempDir()
	st, err := openStore(newer)
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.Write.Exec(`PRAGMA user_version = 99`)
	st.Close()
	if _, again := openStore(newer); err != nil || again == nil || !strings.Contains(again.Error(), "newer version") {
		t.Errorf("a newer file: %v", errors.Join(err, again))
	}
}

// gathered returns what a metric stands at, by the value of its first label:
// a counter's value, a histogram's number of observations.
func gathered(t *testing.T, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			label := ""
			if ls := m.GetLabel(); len(ls) > 0 {
				label = ls[0].GetValue()
			}
			out[label] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}
