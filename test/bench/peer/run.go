//go:build linux

package peer

import (
	"context"
	"fmt"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/sync/errgroup"

	"tidemark/test/bench/netcount"
	"tidemark/test/dataset"
)

// patience is how long to wait for messages that still have to arrive, before they count as lost.
const patience = 60 * time.Second

// rig is the whole set-up: publisher → edge ⇒ proxy ⇒ hub → inbox.
type rig struct {
	config    Config
	gen       *dataset.Gen
	hub, edge *broker
	proxy     *netcount.Proxy
	publisher *paho.Client
	subscribe *paho.Client
	inbox     *inbox
	messages  int // published so far
	result    Result
}

// Run measures the peer as c says, and ends all that it started. Messages that never arrive are counted, not an error; an
// error means that the measurement itself failed.
func Run(ctx context.Context, c Config) (Result, error) {
	if err := c.Validate(); err != nil {
		return Result{}, err
	}
	r := &rig{config: c, gen: dataset.NewGen(c.Seed), inbox: newInbox()}
	defer r.close()
	hub, err := startBroker(ctx, c.Dir, "hub", c.window(), "")
	if err != nil {
		return Result{}, err
	}
	r.hub = hub
	if r.proxy, err = netcount.Listen("127.0.0.1:0", hub.addr); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.proxy.Run(ctx) })
	err = r.measure(ctx)
	cancel()
	if perr := group.Wait(); err == nil {
		err = perr
	}
	return r.result, err
}

// measure goes through the runs in order: what must not stand in each other's queue comes after the former has arrived.
func (r *rig) measure(ctx context.Context) error {
	if err := r.connect(ctx); err != nil {
		return err
	}
	for _, run := range []func(context.Context) error{r.live, r.throughput, r.outage} {
		if err := run(ctx); err != nil {
			return err
		}
	}
	t, err := r.inbox.tally()
	if err != nil {
		return err
	}
	r.result.Lost, r.result.Duplicated = t.lost(r.result.Sent), t.duplicated
	return nil
}

// connect starts the edge, and sends one sweep through to know that the bridge is up.
func (r *rig) connect(ctx context.Context) error {
	// One number alone as restart_timeout never retries sooner than after 5 s; a base and a cap do.
	bridge := fmt.Sprintf("connection up\naddress %s\ntopic # out 1\nbridge_protocol_version mqttv50\n"+
		"cleansession false\nnotifications false\nrestart_timeout 1 1\nkeepalive_interval 60\n", r.proxy.Addr())
	if r.config.SaveOnChange {
		bridge = "autosave_on_changes true\nautosave_interval 1\n" + bridge
	}
	var err error
	if r.subscribe, err = connect(ctx, r.hub.addr, "behind-hub", r.inbox.receive); err != nil {
		return err
	}
	filter := &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1}}}
	if _, err := r.subscribe.Subscribe(ctx, filter); err != nil {
		return fmt.Errorf("peer: subscribe at the hub: %w", err)
	}
	if r.edge, err = startBroker(ctx, r.config.Dir, "edge", r.config.window(), bridge); err != nil {
		return err
	}
	if r.publisher, err = connect(ctx, r.edge.addr, "gateway", nil); err != nil {
		return err
	}
	return r.sendSurely(ctx, packs(r.gen, 1, 1), 1)
}

// send publishes messages of some sweeps each and waits for all of them.
func (r *rig) send(ctx context.Context, payloads [][]byte, sweeps int) (arrived bool, err error) {
	if err := publish(ctx, r.publisher, payloads); err != nil {
		return false, err
	}
	r.messages += len(payloads)
	r.result.Sent += len(payloads) * sweeps * sweep
	return r.inbox.wait(ctx, r.messages, patience), ctx.Err()
}

// sendSurely is send where a message that does not arrive means that the bridge does not work at all.
func (r *rig) sendSurely(ctx context.Context, payloads [][]byte, sweeps int) error {
	arrived, err := r.send(ctx, payloads, sweeps)
	if err == nil && !arrived {
		err = fmt.Errorf("peer: a message did not cross the bridge within %v: see %s", patience, r.edge.log)
	}
	return err
}

// live measures the bytes on the link at the pace of a real site, with one and with ten sweeps a message.
func (r *rig) live(ctx context.Context) error {
	if r.config.Live == 0 {
		return nil
	}
	for _, run := range []struct {
		sweeps int
		figure *float64
	}{{1, &r.result.IPBytesLive1s}, {10, &r.result.IPBytesLive10s}} {
		payloads := packs(r.gen, r.config.Live, run.sweeps)
		r.quiet(ctx)
		pace := time.NewTicker(r.config.Pace)
		before := r.proxy.Counters()
		for i := range payloads {
			if err := r.sendSurely(ctx, payloads[i:i+1], run.sweeps); err != nil {
				pace.Stop()
				return err
			}
			<-pace.C
		}
		pace.Stop()
		bytes := r.proxy.Counters().Sub(before).IPBytes()
		*run.figure = float64(bytes) / float64(len(payloads)*run.sweeps*sweep)
	}
	used, err := r.edge.usage()
	r.result.RSSMiB = mib(used.RSS)
	return err
}

// throughput sends as fast as the edge takes it.
func (r *rig) throughput(ctx context.Context) error {
	payloads := packs(r.gen, r.config.Readings/sweep, 1)
	before, err := r.edge.usage()
	if err != nil {
		return err
	}
	start := time.Now()
	if _, err := r.send(ctx, payloads, 1); err != nil {
		return err
	}
	took := r.inbox.arrival(r.inbox.count() - 1).Sub(start)
	after, err := r.edge.usage()
	if err != nil {
		return err
	}
	used, n := after.Sub(before), float64(r.config.Readings)
	r.result.E2EReadingsPerS = n / took.Seconds()
	r.result.CPUSPerMillion = used.CPU.Seconds() / n * 1e6
	r.result.FlashBytes = float64(used.Written) / n
	return nil
}

// outage cuts the link, lets a backlog grow, and restores the link.
func (r *rig) outage(ctx context.Context) error {
	if r.config.Backlog == 0 {
		return nil
	}
	payloads := packs(r.gen, r.config.Backlog/sweep, 1)
	r.quiet(ctx) // a cut in the middle of an acknowledgement may cost the peer duplicates: that is not what this run is about
	r.proxy.Cut()
	earlier := r.inbox.count()
	if err := publish(ctx, r.publisher, payloads); err != nil {
		return err
	}
	used, err := r.edge.usage()
	if err != nil {
		return err
	}
	r.result.RSSBacklogMiB = mib(used.RSS)
	r.messages += len(payloads)
	r.result.Sent += r.config.Backlog

	before, start := r.proxy.Counters(), time.Now()
	if err := r.proxy.Restore(); err != nil {
		return err
	}
	r.inbox.wait(ctx, r.messages, patience)
	if r.inbox.count() == earlier {
		return fmt.Errorf("peer: nothing arrived within %v of the link's return: see %s", patience, r.edge.log)
	}
	r.result.ResumeS = r.inbox.arrival(earlier).Sub(start).Seconds()
	r.result.DrainS = r.inbox.arrival(r.inbox.count() - 1).Sub(start).Seconds()
	r.result.IPBytesBacklog = float64(r.proxy.Counters().Sub(before).IPBytes()) / float64(r.config.Backlog)
	return ctx.Err()
}

// quiet returns once nothing has gone over the bridge for a while, acknowledgements included.
func (r *rig) quiet(ctx context.Context) {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	last, still := r.proxy.Counters(), 0
	for still < 5 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		now := r.proxy.Counters()
		if still++; now != last {
			last, still = now, 0
		}
	}
}

func (r *rig) close() {
	for _, c := range []*paho.Client{r.publisher, r.subscribe} {
		if c != nil {
			_ = c.Disconnect(&paho.Disconnect{})
		}
	}
	for _, b := range []*broker{r.edge, r.hub} {
		if b != nil {
			b.stop()
		}
	}
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }
