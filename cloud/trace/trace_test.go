package trace

import (
	"strings"
	"testing"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
)

// TestLedger sends one of everything and asks all that can be asked.
func TestLedger(t *testing.T) {
	l := newLab(t)
	sch := schemaAB(t)
	l.PutSchema(sch)
	now := time.Now().UnixMilli()
	s, stop := l.start(Config{Dir: t.TempDir(), CommitEvery: 20 * time.Millisecond})
	lookup := func(protocol.SchemaID) *protocol.Schema { return sch }

	l.Commit(plantA, telemetry(t, sch, epochA, 1, now-9000), telemetry(t, sch, epochA, 2, now-8000),
		other(protocol.TypeEvent, epochA, 3, now-7900, (&protocol.Event{Code: protocol.EventStarted, Text: "The agent started."}).Encode()))
	joined := protocol.Join([]*protocol.Message{telemetry(t, sch, epochA, 4, now-7000), telemetry(t, sch, epochA, 5, now-6000), telemetry(t, sch, epochA, 7, now-4000)}, lookup)
	if len(joined) != 1 {
		t.Fatalf("joined to %d messages", len(joined))
	}
	second := l.Commit(plantA, joined...)
	l.Reject(plantA, epochA, 6, "mismatch", "Columns for 3 points, but the schema has 2.")
	reply := other(protocol.TypeReply, epochA, 8, now-3000, []byte{0xa0})
	reply.RequestID, reply.RequestCode, reply.ResponseCode, reply.Reason = "req-1", "point.write", protocol.Failed, "no_such_point"
	reply.Trace = protocol.TraceID{0xab, 15: 0xcd}
	l.Commit(plantA, reply, other(protocol.TypeDropped, epochA, 9, now-2900, (&protocol.Dropped{Ranges: protocol.SetOf(protocol.Range{First: 10, Last: 12}),
		Count: 3, Cause: protocol.CauseBudget, Text: "The outbox was full."}).Encode()),
		other(protocol.TypeOutage, epochA, 13, now-2800, (&protocol.Outage{From: now - 60000, To: now - 30000, Entries: []protocol.OutageStep{{Time: now - 60000, Rung: protocol.RungDNS, Text: "no such host"}}}).Encode()),
		other(protocol.TypeHeartbeat, epochA, 14, now-2700, (&protocol.Heartbeat{Agent: "1.2.3", Profile: "p1", Outbox: protocol.OutboxState{NextSeq: 17, Depth: 3}}).Encode()))
	last := l.Commit(plantB, telemetry(t, sch, 0xb, 1, now))
	l.written(s, last)
	streamtest.Eventually(t, "the dead letter is in the ledger", func() bool {
		return len(ask[contract.MessagesResult](l, contract.ReqMessages, contract.MessagesQuery{ResponseCode: "rejected"}).Messages) == 1
	})

	check := func() {
		t.Helper()
		checkMessages(t, l, now)
		checkGateways(t, l)
		checkWhere(t, l)
	}
	check()
	l.mark(protocol.Ruled, last, time.Now().UnixMicro())
	l.mark(protocol.Stored, second, time.Now().UnixMicro())
	derived := protocol.TraceIDOf(epochA, 5).String()
	streamtest.Eventually(t, "the trace of a joined message is complete", func() bool {
		return strings.HasSuffix(ask[contract.TraceResult](l, contract.ReqTrace, contract.TraceQuery{TraceID: derived}).Where, "everything passed")
	})
	r := ask[contract.TraceResult](l, contract.ReqTrace, contract.TraceQuery{TraceID: derived})
	if h := r.Hops; h[0].TimeUs != (now-6000-readBefore)*1000 || h[1].TimeUs != (now-6000)*1000 || h[1].DurationUs != readBefore*1000 {
		t.Errorf("the message that was asked for, of three joined: sampled %+v, queued %+v", h[0], h[1])
	}
	var stages []string
	for _, h := range r.Hops {
		stages = append(stages, h.Stage)
		if (h.TimeUs == 0) != (h.Stage == "served") || h.DurationUs < 0 {
			t.Errorf("hop %+v", h)
		}
	}
	if got := strings.Join(stages, " "); got != "sampled queued sent received committed ruled stored served" {
		t.Errorf("hops are %s", got)
	}
	if len(r.Messages) != 1 || r.Messages[0].Seqs != "4-5,7" || r.Messages[0].Readings != 6 {
		t.Errorf("messages of the trace: %+v", r.Messages)
	}

	// All of it is there after a restart.
	dir := s.cfg.Dir
	stop()
	_, _ = l.start(Config{Dir: dir, CommitEvery: 20 * time.Millisecond})
	check()
	if got := ask[contract.TraceResult](l, contract.ReqTrace, contract.TraceQuery{TraceID: derived}); got.Where != r.Where || len(got.Hops) != len(r.Hops) || got.Hops[6] != r.Hops[6] {
		t.Errorf("after a restart: %+v, before %+v", got, r)
	}
}

func checkMessages(t *testing.T, l *lab, now int64) {
	t.Helper()
	for _, c := range []struct {
		name string
		q    contract.MessagesQuery
		want string
	}{
		{"site", contract.MessagesQuery{Site: "mill"}, "telemetry 1 ok"},
		{"gateway and type", contract.MessagesQuery{Site: "harbour", Gateway: "gw-1", Type: "event"}, "event 3 ok"},
		{"type", contract.MessagesQuery{Type: "dropped"}, "dropped 9 ok"},
		{"site and type", contract.MessagesQuery{Site: "harbour", Type: "outage"}, "outage 13 ok"},
		{"code", contract.MessagesQuery{ResponseCode: "failed"}, "reply 8 failed"},
		{"code and gateway", contract.MessagesQuery{Site: "harbour", Gateway: "gw-1", ResponseCode: "rejected"}, "telemetry 6 rejected"},
		{"trace", contract.MessagesQuery{TraceID: protocol.TraceIDOf(epochA, 7).String()}, "telemetry 4-5,7 ok"},
		{"explicit trace", contract.MessagesQuery{TraceID: "ab0000000000000000000000000000cd"}, "reply 8 failed"},
		{"time", contract.MessagesQuery{FromMs: now - 8000, ToMs: now - 7900}, "telemetry 2 ok"},
		{"time and site", contract.MessagesQuery{Site: "harbour", FromMs: now - 2900, ToMs: now - 2700, Type: "outage"}, "outage 13 ok"},
		{"nothing", contract.MessagesQuery{Site: "nowhere"}, ""},
	} {
		r := ask[contract.MessagesResult](l, contract.ReqMessages, c.q)
		if r.Problem != nil {
			t.Fatalf("%s: %v", c.name, r.Problem)
		}
		var got []string
		for _, m := range r.Messages {
			got = append(got, m.Type+" "+m.Seqs+" "+m.ResponseCode)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: got %v, want %s", c.name, got, c.want)
		}
	}
	// Pages of every size join to the same list, without gaps or doubles.
	var all []contract.MessageRow
	for limit := 1; limit < 10; limit++ {
		var rows []contract.MessageRow
		q := contract.MessagesQuery{Site: "harbour", Limit: limit}
		for pages := 0; pages == 0 || q.Cursor != ""; pages++ {
			r := ask[contract.MessagesResult](l, contract.ReqMessages, q)
			rows, q.Cursor = append(rows, r.Messages...), r.Next
			if len(r.Messages) > limit || pages > 20 {
				t.Fatalf("limit %d: %d messages, page %d", limit, len(r.Messages), pages)
			}
		}
		if all == nil {
			all = rows
		}
		if len(rows) != 9 || len(rows) != len(all) {
			t.Fatalf("limit %d: %d messages", limit, len(rows))
		}
		for i := range rows {
			if rows[i] != all[i] {
				t.Fatalf("limit %d: message %d is %+v, not %+v", limit, i, rows[i], all[i])
			}
		}
	}
	for _, m := range all {
		switch m.Seqs {
		case "8":
			if m.RequestID != "req-1" || m.RequestCode != "point.write" || m.Reason != "no_such_point" {
				t.Errorf("reply: %+v", m)
			}
		case "6":
			if m.Reason != "mismatch" || m.Text == "" || m.Sequence != 0 || m.TraceID != protocol.TraceIDOf(epochA, 6).String() {
				t.Errorf("dead letter: %+v", m)
			}
		case "9":
			if m.Reason != protocol.CauseBudget {
				t.Errorf("dropped: %+v", m)
			}
		}
	}
	for _, q := range []contract.MessagesQuery{{Type: "nonsense"}, {ResponseCode: "fine"}, {TraceID: "12"}, {Cursor: "!"}, {Gateway: "gw-1"}} {
		if r := ask[contract.MessagesResult](l, contract.ReqMessages, q); r.Problem == nil || r.Problem.Status != 400 || r.Problem.Text == "" {
			t.Errorf("%+v: problem %+v", q, r.Problem)
		}
	}
}

func checkGateways(t *testing.T, l *lab) {
	t.Helper()
	r := ask[contract.GatewaysResult](l, contract.ReqGateways, contract.GatewaysQuery{Site: "harbour"})
	if r.Problem != nil || len(r.Gateways) != 1 {
		t.Fatalf("gateways: %+v", r)
	}
	g := r.Gateways[0]
	// Seqs 1-16 were numbered: 1-5,7-9,13,14 arrived, 6 is dead, 10-12 dropped, 15 and 16 on the way.
	if want := (contract.Account{In: 16, Out: 10, Dead: 1, Dropped: 3, InFlight: 2}); g.Account != want {
		t.Errorf("account %+v, want %+v", g.Account, want)
	}
	if g.Agent != "1.2.3" || g.Outbox == nil || g.Outbox.NextSeq != 17 || len(g.Outages) != 1 || g.Outages[0].Steps[0].Rung != "dns" || g.LastSeenMs == 0 {
		t.Errorf("state %+v", g)
	}
	if len(g.Epochs) != 1 || g.Epochs[0].Ranges != "1-9,13-14" || len(g.Epochs[0].Dropped) != 1 || g.Epochs[0].Dropped[0].Ranges != "10-12" {
		t.Errorf("epochs %+v", g.Epochs)
	}
	if all := ask[contract.GatewaysResult](l, contract.ReqGateways, contract.GatewaysQuery{}); len(all.Gateways) != 2 {
		t.Errorf("%d gateways in all", len(all.Gateways))
	}
}

func checkWhere(t *testing.T, l *lab) {
	t.Helper()
	for _, c := range []struct{ trace, want string }{
		{protocol.TraceIDOf(epochA, 11).String(), "dropped: gateway harbour/gw-1 gave it up: budget: The outbox was full."},
		{protocol.TraceIDOf(epochA, 6).String(), "rejected: mismatch: Columns for 3 points, but the schema has 2."},
		{protocol.TraceIDOf(epochA, 16).String(), "not in the stream: gateway harbour/gw-1 has committed up to seq 14, this is seq 16: still in its outbox or lost there"},
		{protocol.TraceIDOf(0xdead, 1).String(), "not known: no message carries this trace id, and no gateway has an outbox of epoch 000000000000dead"},
		{protocol.TraceIDOf(0xb, 1).String(), "committed, not stored: no data service is running"},
	} {
		r := ask[contract.TraceResult](l, contract.ReqTrace, contract.TraceQuery{TraceID: c.trace})
		if r.Problem != nil || !strings.HasPrefix(r.Where, c.want) {
			t.Errorf("%s: where is %q (%v), want %q", c.trace, r.Where, r.Problem, c.want)
		}
	}
}
