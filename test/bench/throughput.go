//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// size weighs the agent.
func (b *bench) size(context.Context) error {
	info, err := os.Stat(filepath.Join(b.bin, "tidemark-agent"))
	if err != nil {
		return err
	}
	b.report.add("agent_binary_mib", mib(uint64(info.Size())))
	return nil
}

// e2e replays as fast as it goes into the stream; nothing reads that meanwhile.
func (b *bench) e2e(ctx context.Context) error {
	r, err := b.replayAll(ctx, []string{"--roles", "receiver"}, nil)
	if err != nil {
		return err
	}
	b.report.add("e2e_readings_per_s", float64(b.readings)/r.stream.Seconds())
	b.report.add("agent_cpu_s_per_million", r.agentCPU.Seconds()/float64(b.readings)*1e6)
	return nil
}

// stored replays as fast as it goes into the warehouse, with everything on,
// and once more without the ledger.
func (b *bench) stored(ctx context.Context) error {
	rules := filepath.Join(b.dir, "rules")
	if err := os.MkdirAll(rules, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(rules, "bench.yaml"), []byte(benchRules), 0o644); err != nil {
		return err
	}
	on, err := b.replayAll(ctx, []string{"--rules", rules}, b.storedAll)
	if err != nil {
		return err
	}
	off, err := b.replayAll(ctx, []string{"--rules", rules, "--ledger-off"}, b.storedAll)
	if err != nil {
		return err
	}
	b.report.add("stored_readings_per_s", float64(b.readings)/on.stored.Seconds())
	b.report.add("ledger_cost_pct", (on.cloudCPU.Seconds()-off.cloudCPU.Seconds())/off.cloudCPU.Seconds()*100)
	return nil
}

const benchRules = `rules:
  - name: boiler-hot
    when: boiler.temp_c > 79
    for: 30s
    clear_when: boiler.temp_c < 75
    severity: warning
    summary: "The boiler is hot: {boiler.temp_c}"
  - name: tank-low
    when: point("tank-1.level_mm") < 1800
    for: 1m
    severity: info
    summary: "The tank is low"
`

// outcome is one replay, measured.
type outcome struct {
	stream             time.Duration // first reading queued to last committed in the stream
	stored             time.Duration // first reading queued to the last on disk in the warehouse
	agentCPU, cloudCPU time.Duration // the cloud's without its start
}

// replayAll replays the recording once; met, if there is one, says when the
// cloud has done all of it.
func (b *bench) replayAll(ctx context.Context, cloudArgs []string, met func(context.Context, *cloudProc) error) (o outcome, err error) {
	recording, err := b.recording(b.readings)
	if err != nil {
		return o, err
	}
	profile, err := b.profile("fast", recording, "max", "recorded", "")
	if err != nil {
		return o, err
	}
	dir, err := b.scratch("e2e")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	cloud, err := b.cloud(ctx, filepath.Join(dir, "cloud"), cloudArgs...)
	if err != nil {
		return o, err
	}
	marks, err := listen(cloud.nats)
	if err != nil {
		return o, err
	}
	defer marks.conn.Close()
	idle, err := cloud.usage()
	if err != nil {
		return o, err
	}
	agent, err := b.agent(ctx, profile, filepath.Join(dir, "agent"), cloud.mqtt)
	if err != nil {
		return o, err
	}
	if err := agent.idle(ctx); err != nil {
		return o, err
	}
	if met != nil {
		if err := met(ctx, cloud); err != nil {
			return o, err
		}
	}
	if o.agentCPU, o.cloudCPU, err = cpuOf(agent.child, cloud.child); err != nil {
		return o, err
	}
	o.cloudCPU -= idle.CPU // what starting took is no cost of a reading
	if err := agent.stop(); err != nil {
		return o, err
	}
	t, err := count(ctx, cloud.nats, "fast")
	if err != nil {
		return o, err
	}
	t.check(b.report, b.readings)
	first := time.UnixMilli(t.firstQueuedMs)
	o.stream = time.UnixMicro(t.lastCommittedUs).Sub(first)
	if met != nil {
		if o.stored, err = marks.stored(ctx, cloud.child, t.lastSequence, first); err != nil {
			return o, err
		}
	}
	return o, cloud.stop()
}

// storedMarks hears up to where the data service has its store on disk.
type storedMarks struct {
	conn *nats.Conn
	mu   sync.Mutex
	all  []contract.HopMark
}

func listen(natsAddr string) (*storedMarks, error) {
	conn, err := nats.Connect("nats://" + natsAddr)
	if err != nil {
		return nil, err
	}
	s := &storedMarks{conn: conn}
	_, err = conn.Subscribe(contract.SubjectHop+string(protocol.Stored), func(m *nats.Msg) {
		var mark contract.HopMark
		if json.Unmarshal(m.Data, &mark) == nil {
			s.mu.Lock()
			s.all = append(s.all, mark)
			s.mu.Unlock()
		}
	})
	return s, err
}

// stored returns when the store held everything up to a position.
func (s *storedMarks) stored(ctx context.Context, c *child, through uint64, first time.Time) (d time.Duration, err error) {
	err = c.until(ctx, 10*time.Millisecond, func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, m := range s.all {
			if m.Through >= through {
				d = time.UnixMicro(m.TimeUs).Sub(first)
				return true, nil
			}
		}
		return false, nil
	})
	return d, err
}

func cpuOf(agent, cloud *child) (a, c time.Duration, err error) {
	ua, err := agent.usage()
	if err != nil {
		return 0, 0, err
	}
	uc, err := cloud.usage()
	return ua.CPU, uc.CPU, err
}

// storedAll waits until the warehouse holds every reading.
func (b *bench) storedAll(ctx context.Context, c *cloudProc) error {
	return c.until(ctx, 20*time.Millisecond, func() (bool, error) {
		r, err := http.Get("http://" + c.http + "/api/v1/readings/count?site=bench")
		if err != nil {
			return false, err
		}
		defer r.Body.Close()
		var body struct {
			Readings int `json:"readings"`
		}
		if r.StatusCode != http.StatusOK {
			return false, nil // such as: no such site yet
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return false, err
		}
		if body.Readings > b.readings {
			return false, fmt.Errorf("the warehouse holds %d readings of %d", body.Readings, b.readings)
		}
		return body.Readings == b.readings, nil
	})
}
