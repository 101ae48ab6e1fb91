package crash

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// Two receivers that share the bundles of one gateway behind a broker that is not ours, and are killed at random: each
// message is in the stream once. Then bundles from the first to the last come again, in any order and more than once, from
// somebody who captured them: nothing changes, each is answered with the tidemark, and each message is counted as ignored.
func TestReceiversRacing(t *testing.T) {
	mosquitto := startMosquitto(t)
	core := newCloud(t, filepath.Join(t.TempDir(), "c"), "--roles", "rule,data,trace,gateway")
	r := newRig(t, newPlan(t, 8, 7200, 1000), core, mosquitto)
	core.start(t)
	core.up(t)
	var receivers [2]*cloud
	for i := range receivers {
		receivers[i] = newCloud(t, filepath.Join(t.TempDir(), "r"), "--roles", "receiver,gateway", "--nats", "nats://"+core.nats, "--mqtt", "mqtt://"+mosquitto)
		receivers[i].nats = ""
		receivers[i].start(t)
	}
	for _, c := range receivers {
		c.up(t)
	}
	r.more = receivers[:]
	gw := protocol.Gateway{Site: r.plan.site, Name: r.plan.gateway}
	capture := dialBroker(t, mosquitto, "capture", gw.UpTopic())
	r.begin()
	races := 0.0
	for range max(3, *rounds/3) {
		sleep(between(r.rnd, 300*time.Millisecond, 1500*time.Millisecond))
		victim := receivers[r.rnd.IntN(2)]
		races += victim.metric("tidemark_receiver_commit_races_total")
		victim.kill()
		sleep(between(r.rnd, 0, 400*time.Millisecond))
		victim.start(t)
		victim.up(t)
	}
	r.settle() // with bundles that were lost with a receiver, which the agent sends again after 15 s
	b := audit(t, r.plan, core)
	if findings := compare(r.seen, b); len(findings) > 0 {
		t.Fatalf("what the cloud holds is not what the outbox promised:\n%s", list(findings))
	}
	for _, c := range receivers {
		races += c.metric("tidemark_receiver_commit_races_total")
	}
	t.Logf("%d readings in the stream, %.0f races for a commit", b.stream.total, races)
	if races == 0 {
		t.Error("the receivers never raced for a commit: nothing is proved")
	}
	replay(t, r, receivers, dialBroker(t, mosquitto, gw.String(), gw.AckTopic()), capture.received(), b)
	if after := audit(t, r.plan, core); after.stream.total != b.stream.total || len(compare(r.seen, after)) > 0 {
		t.Errorf("after the replay the stream holds %d readings, before it %d; %s", after.stream.total, b.stream.total, list(compare(r.seen, after)))
	}
}

// replay sends captured bundles again, each one to three times, in random order.
func replay(t *testing.T, r *rig, receivers [2]*cloud, c *client, bundles []*paho.Publish, b *books) {
	t.Helper()
	if len(bundles) < 10 {
		t.Fatalf("only %d bundles were captured", len(bundles))
	}
	ignored := func() (n float64) {
		for _, c := range receivers {
			n += c.metric("tidemark_receiver_messages_duplicate_total")
		}
		return n
	}
	var again []*paho.Publish
	for _, p := range bundles {
		for range 1 + r.rnd.IntN(3) {
			again = append(again, p)
		}
	}
	r.rnd.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
	before, want := ignored(), uint64(0)
	for _, p := range again {
		want += seqsOf(t, p.Payload)
		c.again(t, p)
	}
	until(t, time.Minute, "every replayed message is counted as ignored and every bundle is answered", func() bool {
		return ignored()-before >= float64(want) && len(c.received()) >= len(again)
	})
	if n := ignored() - before; n != float64(want) {
		t.Errorf("%.0f messages were counted as ignored, %d were replayed", n, want)
	}
	for _, p := range c.received() { // a receiver may not know yet what the other one committed
		var a protocol.Ack
		if err := protocol.Unmarshal(p.Payload, &a); err != nil {
			t.Fatal(err)
		}
		if more := a.Committed.Minus(b.tidemarks.Of(a.Epoch)); !more.Empty() || len(a.Need) > 0 || len(a.Rejected) > 0 {
			t.Fatalf("a replayed bundle was answered with %s (needs %d schemas, rejects %d), the tidemark is %s",
				a.Committed, len(a.Need), len(a.Rejected), b.tidemarks.Of(a.Epoch))
		}
	}
	for _, p := range bundles[:10] {
		answered(t, c, p)
	}
	var g contract.GatewayState
	if err := r.cloud.get("/api/v1/gateways/"+r.plan.site+"/"+r.plan.gateway, &g); err != nil || g.Account != b.state.Account {
		t.Errorf("the account was %+v, after the replay it is %+v (%v)", b.state.Account, g.Account, err)
	}
	t.Logf("%d bundles with %d messages replayed", len(again), want)
}

// answered sends a captured bundle, and holds its ack against it.
func answered(t *testing.T, c *client, p *paho.Publish) {
	t.Helper()
	n := len(c.received())
	c.again(t, p)
	until(t, 20*time.Second, "a replayed bundle is answered", func() bool { return len(c.received()) > n })
	var a protocol.Ack
	if err := protocol.Unmarshal(c.received()[n].Payload, &a); err != nil {
		t.Fatal(err)
	}
	msgs, err := protocol.DecodeBundle(p.Payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		if m.Type != protocol.TypeSchema && (m.Epoch != a.Epoch || !m.Seqs().Minus(a.Committed).Empty()) {
			t.Errorf("the ack of a replayed bundle names %s of epoch %x, the bundle holds %s of epoch %x", a.Committed, a.Epoch, m.Seqs(), m.Epoch)
		}
	}
}
