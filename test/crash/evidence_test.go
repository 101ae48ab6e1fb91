package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/agent/outbox"
	"tidemark/protocol"
)

// tally counts readings, life by life.
type tally struct {
	plan  *plan
	lives [][]uint8 // sweep*points + point: how often
	wrong []string  // readings that are none of the plan's
	total int
}

func newTally(p *plan) *tally { return &tally{plan: p} }

func (c *tally) add(point string, at, v int64) {
	n := -1
	if _, err := fmt.Sscanf(point, "rig.p%d", &n); err != nil || n < 0 || n >= points {
		c.fault("point %s at %d is not of the plan", point, at)
		return
	}
	c.count(n, at, v)
}

func (c *tally) count(point int, at, v int64) {
	life, sweep, ok := c.plan.find(point, at)
	if !ok || v != value(life, sweep, point) {
		c.fault("point %d at %d has the value %d, which was never read", point, at, v)
		return
	}
	for len(c.lives) <= life {
		c.lives = append(c.lives, make([]uint8, c.plan.sweeps*points))
	}
	if n := &c.lives[life][sweep*points+point]; *n < 255 {
		*n++
	}
	c.total++
}

func (c *tally) fault(format string, args ...any) {
	if len(c.wrong) < 10 {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

// end is where the readings of a life that are known end.
func (c *tally) end(life int) int {
	if life >= len(c.lives) {
		return 0
	}
	for i := len(c.lives[life]); i > 0; i-- {
		if c.lives[life][i-1] > 0 {
			return i
		}
	}
	return 0
}

func (c *tally) of(life, i int) int {
	if life >= len(c.lives) {
		return 0
	}
	return int(c.lives[life][i])
}

// messages adds the telemetry of messages.
func (c *tally) messages(msgs []*protocol.Message, lookup protocol.LookupSchema) error {
	for _, m := range msgs {
		if m.Type != protocol.TypeTelemetry {
			continue
		}
		tel, err := m.Telemetry(lookup)
		if err != nil {
			return fmt.Errorf("seq %d: %w", m.Seq, err)
		}
		for p := range tel.Columns {
			col := &tel.Columns[p]
			for s := range tel.Scans {
				if q, reason := col.Quality(s); q != protocol.Good {
					c.fault("%s of seq %d is %v: %s", tel.Schema.Points[p].Name, m.Seq, q, reason)
					continue
				}
				c.add(tel.Schema.Points[p].Name, tel.Time(s, p), col.Value(s).Int())
			}
		}
	}
	return nil
}

// promised is what outboxes had committed when they were killed.
type promised struct {
	readings *tally
	epochs   map[uint64]uint64 // the highest seq that was committed
}

// look reads what an agent left behind, in a copy, so that it is as the kill left it when the agent comes back. said is the
// highest seq that the agent itself had called committed. It returns the highest seq that the copy holds.
func (e *promised) look(t *testing.T, data string, said uint64) (head uint64) {
	t.Helper()
	dir := t.TempDir()
	copyFolder(t, data, dir)
	box, err := outbox.Open(context.Background(), outbox.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = box.Close(); _ = os.RemoveAll(dir) }()
	head = box.Head()
	known := box.Acked().Clone()
	if head < said {
		t.Errorf("the agent had said that seq %d is committed; after the kill its folder ends at %d", said, head)
	}
	for _, d := range box.Lost() {
		known.AddSet(d.Ranges)
	}
	life := newTally(e.readings.plan) // one message may be seen after several kills
	for after := uint64(0); after < head; {
		stored, err := box.Read(after, head, 1<<20, protocol.Set{})
		if err != nil {
			t.Fatal(err)
		}
		if len(stored) == 0 {
			break
		}
		for _, s := range stored {
			m, err := protocol.DecodeMessage(s.Data)
			if err == nil {
				err = life.messages([]*protocol.Message{m}, box.Schema)
			}
			if err != nil {
				t.Fatalf("seq %d in the outbox: %v", s.Seq, err)
			}
			known.Add(s.Seq, s.Seq)
			after = s.Seq
		}
	}
	if missing := known.Missing(1, head); head > 0 && !missing.Empty() {
		t.Errorf("after the kill seqs %s are neither in the outbox nor acknowledged nor named", missing)
	}
	e.readings.wrong = append(e.readings.wrong, life.wrong...)
	for n := range life.lives {
		for i, c := range life.lives[n] {
			if c > 0 && e.readings.of(n, i) == 0 {
				p := i % points
				e.readings.count(p, e.readings.plan.at(n, i/points, p), value(n, i/points, p))
			}
			if c > 1 {
				e.readings.fault("reading %d of life %d stands %d times in the outbox", i, n, c)
			}
		}
	}
	e.epochs[box.Epoch()] = max(e.epochs[box.Epoch()], head)
	return head
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == "lost+found" {
			continue
		}
		in, err := os.Open(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(to, e.Name()))
		if err == nil {
			_, err = io.Copy(out, in)
			in.Close()
			out.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// number reads a JSON number that must be a whole one.
func number(v any) int64 {
	switch n := v.(type) {
	case float64:
		if n == float64(int64(n)) {
			return int64(n)
		}
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return i
		}
	}
	return -1
}

// list joins findings for a person.
func list(findings []string) string { return strings.Join(findings, "\n") }
