package crash

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/agent/control"
	"tidemark/protocol"
)

// rig is a gateway, a cloud and the way between them.
type rig struct {
	t     *testing.T
	rnd   *rand.Rand
	plan  *plan
	data  string // the outbox's folder
	cloud *cloud
	way   *way
	agent *agentProcess
	more  []*cloud // further processes of the cloud
	life  int      // of the agent, from 0
	said  atomic.Uint64
	hush  context.CancelFunc // ends the watching of agent
	seen  *promised
}

func newRig(t *testing.T, p *plan, c *cloud, broker string) *rig {
	return &rig{t: t, rnd: random(t), plan: p, data: filepath.Join(t.TempDir(), "a"), cloud: c, way: newWay(t, broker), life: -1,
		seen: &promised{readings: newTally(p), epochs: map[uint64]uint64{}}}
}

// begin starts the agent's next life.
func (r *rig) begin(more ...string) {
	r.t.Helper()
	r.life++
	r.agent = startAgent(r.t, r.plan.profile(r.t, r.life), r.data, r.way.addr(), more...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func(a *agentProcess) {
		defer close(done)
		for ctx.Err() == nil {
			if s, err := a.status(); err == nil {
				r.said.Store(max(r.said.Load(), s.Outbox.NextSeq-1))
			}
			sleep(10 * time.Millisecond)
		}
	}(r.agent)
	r.hush = func() { cancel(); <-done }
}

// over looks at what the agent left, once it was killed or stopped, and returns the highest seq that was committed.
func (r *rig) over() (head uint64) {
	r.t.Helper()
	r.hush()
	r.plan.forget(r.life)
	return r.seen.look(r.t, r.data, r.said.Load())
}

// drain waits until, for half a second, the agent has queued nothing more and the cloud has acknowledged everything. It
// returns the highest seq.
func (r *rig) drain(limit time.Duration) (head uint64) {
	r.t.Helper()
	since := time.Now()
	var s control.Status
	defer func() {
		if r.t.Failed() {
			r.t.Logf("the agent's state: link %+v, outbox %+v", s.Link, s.Outbox)
		}
	}()
	until(r.t, limit, "the outbox is drained", func() bool {
		r.agent.mustRun()
		r.cloud.mustRun()
		for _, c := range r.more {
			c.mustRun()
		}
		var err error
		s, err = r.agent.status()
		if err != nil || !s.Link.Online || s.Outbox.Depth > 0 || s.Outbox.NextSeq-1 != head {
			head, since = s.Outbox.NextSeq-1, time.Now()
		}
		return err == nil && time.Since(since) > 500*time.Millisecond
	})
	return head
}

// settle stops the load, and lets agents without load run until one was killed that owed nothing.
func (r *rig) settle(more ...string) {
	r.t.Helper()
	r.agent.stop()
	r.over()
	whole := r.plan
	defer func() { r.plan = whole }()
	for range 5 {
		quiet := *whole // its only sweep is the first of the next life
		quiet.sweeps, quiet.base = 1, whole.at(r.life+1, 0, 0)-int64(r.life+1)*sweepMs
		r.plan = &quiet
		r.begin(more...)
		drained := r.drain(40 * time.Second)
		r.agent.kill() // a graceful stop would queue one more message
		if r.over() == drained {
			return
		}
	}
	r.t.Fatal("the agent always has one more message")
}

// Killed at random moments, under load and over a bad network: what the outbox had committed is in the stream and in the
// warehouse exactly once.
func TestKilledAtRandomMoments(t *testing.T) {
	c := newCloud(t, filepath.Join(t.TempDir(), "c"))
	r := newRig(t, newPlan(t, *rounds+6, 7200, 1000), c, c.mqtt)
	c.start(t)
	c.up(t)
	r.begin()
	kills := map[string]int{}
	for n := range *rounds {
		fault := r.way.spoil(r.rnd)
		victims := [...]string{"agent", "cloud", "both"}[r.rnd.IntN(3)]
		moment := between(r.rnd, 50*time.Millisecond, 1500*time.Millisecond)
		back := between(r.rnd, 0, 300*time.Millisecond)
		sleep(moment)
		r.agent.mustRun()
		r.cloud.mustRun()
		if victims != "agent" {
			r.cloud.kill()
		}
		if victims != "cloud" {
			r.agent.kill()
			r.over()
		}
		kills[victims]++
		t.Logf("round %d: the link is %s; killed %s after %v, %d messages committed so far", n, fault, victims, moment.Round(time.Millisecond), r.said.Load())
		sleep(back)
		if victims != "agent" {
			r.cloud.start(t)
		}
		if victims != "cloud" {
			r.begin()
		}
	}
	r.way.good()
	r.cloud.up(t)
	r.settle()
	b := audit(t, r.plan, c)
	if findings := compare(r.seen, b); len(findings) > 0 {
		t.Errorf("what the cloud holds is not what the outbox promised:\n%s", list(findings))
	}
	for epoch := range r.seen.epochs {
		if lost := b.dropped[epoch]; !lost.Empty() {
			t.Errorf("seqs %s were named lost; a kill is no reason to lose anything", lost)
		}
	}
	t.Logf("%d rounds (%v): %d readings committed at a kill, %d in the stream, %d in the warehouse, account %+v",
		*rounds, kills, r.seen.readings.total, b.stream.total, b.warehouse.total, b.state.Account)
	if b.stream.total < *rounds*500 {
		t.Errorf("only %d readings in %d rounds: the system did nothing that a kill could have spoiled", b.stream.total, *rounds)
	}
	if !t.Failed() {
		spoil(t, r.seen, b)
	}
}

// spoil spoils the evidence in one place after the other; the comparison must notice each.
func spoil(t *testing.T, p *promised, b *books) {
	t.Helper()
	life := len(b.stream.lives) / 2
	for b.stream.end(life) == 0 {
		life--
	}
	i := b.stream.end(life) / 2
	var epoch uint64
	for e := range p.epochs {
		epoch = e
	}
	bump := func(c *tally, by int) func() func() {
		return func() func() {
			c.lives[life][i] = uint8(int(c.lives[life][i]) + by)
			return func() { c.lives[life][i] = uint8(int(c.lives[life][i]) - by) }
		}
	}
	seqs, account, counted := b.seqs[epoch], b.state.Account, b.counted
	for name, change := range map[string]func() func(){
		"a reading missing from the stream":    bump(b.stream, -1),
		"a reading twice in the stream":        bump(b.stream, 1),
		"a reading missing from the warehouse": bump(b.warehouse, -1),
		"a reading twice in the warehouse":     bump(b.warehouse, 1),
		"a message missing from the stream": func() func() {
			mid := seqs.Max() / 2
			b.seqs[epoch] = seqs.Minus(protocol.SetOf(protocol.Range{First: mid, Last: mid}))
			return func() { b.seqs[epoch] = seqs }
		},
		"a message that the outbox promised more": func() func() { p.epochs[epoch] += 1 << 20; return func() { p.epochs[epoch] -= 1 << 20 } },
		"a reading of another value": func() func() {
			b.warehouse.count(0, b.warehouse.plan.at(life, 0, 0), -5)
			return func() { b.warehouse.wrong = b.warehouse.wrong[:len(b.warehouse.wrong)-1] }
		},
		"an account that does not balance": func() func() { b.state.Account.Out--; return func() { b.state.Account = account } },
		"a count that is not the stream's": func() func() { b.counted++; return func() { b.counted = counted } },
	} {
		undo := change()
		if len(compare(p, b)) == 0 {
			t.Errorf("the comparison does not notice %s", name)
		}
		undo()
	}
	if findings := compare(p, b); !t.Failed() && len(findings) > 0 {
		t.Errorf("undoing did not put things back: %s", list(findings))
	}
}
