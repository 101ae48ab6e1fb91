package outbox

import (
	"bytes"
	"os"
	"testing"

	"pgregory.net/rapid"

	"tidemark/protocol"
)

// model is the outbox as plain maps.
type model struct {
	t     *rapid.T
	dir   string
	o     *Outbox
	epoch uint64
	run   uint64

	pending   []*Ticket
	pendingM  map[uint64][]byte
	committed map[uint64][]byte
	acked     protocol.Set
	tb        *testing.T

	thinAt float64
	plants []*plant
	seen   uint64       // the outbox's own messages are known up to here
	named  protocol.Set // in dropped messages
}

func (m *model) open() {
	o, err := Open(m.tb.Context(), Config{Dir: m.dir, SegmentBytes: 64 << 10, Budget: 64 << 20, CommitBytes: 1 << 20, ThinAt: m.thinAt, Log: quiet()})
	if err != nil {
		m.t.Fatal(err)
	}
	if m.epoch != 0 && o.Epoch() != m.epoch || o.RunNumber() <= m.run {
		m.t.Fatalf("epoch %x run %d after epoch %x run %d", o.Epoch(), o.RunNumber(), m.epoch, m.run)
	}
	m.o, m.epoch, m.run = o, o.Epoch(), o.RunNumber()
	m.pending, m.pendingM = nil, map[uint64][]byte{}
}

func (m *model) append(size int, urgent bool) {
	m.appendMessage(event(size), nil, urgent)
}

func (m *model) appendMessage(msg *protocol.Message, schema *protocol.Schema, urgent bool) {
	tk, err := m.o.Append(m.tb.Context(), msg, schema, urgent)
	if err != nil {
		m.t.Fatal(err)
	}
	if _, twice := m.committed[tk.Seq()]; twice {
		m.t.Fatalf("seq %d was given twice", tk.Seq())
	}
	m.pending = append(m.pending, tk)
	m.pendingM[tk.Seq()] = tk.data
}

// commit is a step of Run, which commits only what is due.
func (m *model) commit() {
	m.o.urgent = true
	for m.o.step(&retry{}) == 0 {
	}
	for _, tk := range m.pending {
		if err := tk.Wait(m.tb.Context()); err != nil {
			m.t.Fatal(err)
		}
		m.committed[tk.Seq()] = m.pendingM[tk.Seq()]
	}
	m.pending, m.pendingM = nil, map[uint64][]byte{}
	m.absorb()
}

// absorb takes over what the outbox itself has committed: what stands in for
// other messages, and the dropped messages that name those.
func (m *model) absorb() {
	got, err := m.o.Read(m.seen, m.o.Head(), 1<<30, protocol.Set{})
	if err != nil {
		m.t.Fatal(err)
	}
	var by protocol.Set
	for _, s := range got {
		m.seen = s.Seq
		if _, ours := m.committed[s.Seq]; ours {
			continue
		}
		m.committed[s.Seq] = s.Data
		if s.Type == protocol.TypeTelemetry {
			by.Add(s.Seq, s.Seq)
			continue
		}
		msg, err := protocol.DecodeMessage(s.Data)
		var d protocol.Dropped
		if err == nil {
			err = protocol.Unmarshal(msg.Body, &d)
		}
		if err != nil || msg.Type != protocol.TypeDropped || d.Cause != protocol.CauseThinned || !d.By.Minus(by).Empty() {
			m.t.Fatalf("message %d of the outbox: %v %+v", s.Seq, err, d)
		}
		for _, r := range d.Ranges.Ranges() {
			for seq := r.First; seq <= r.Last; seq++ {
				if m.committed[seq] == nil || m.named.Contains(seq) || m.acked.Contains(seq) {
					m.t.Fatalf("message %d is named by %d: committed %t, named before %t, acknowledged %t", seq, s.Seq, m.committed[seq] != nil, m.named.Contains(seq), m.acked.Contains(seq))
				}
			}
		}
		m.named.AddSet(d.Ranges)
	}
}

func (m *model) read(after, upTo uint64, maxBytes int, skip protocol.Set) {
	got, err := m.o.Read(after, upTo, maxBytes, skip)
	if err != nil {
		m.t.Fatal(err)
	}
	i, total := 0, 0
	for seq := after + 1; seq <= min(upTo, m.o.Head()); seq++ {
		data, ok := m.committed[seq]
		if !ok || m.acked.Contains(seq) || m.named.Contains(seq) || skip.Contains(seq) {
			continue
		}
		if i == len(got) {
			if i == 0 || total+len(data) <= maxBytes {
				m.t.Fatalf("read of %d..%d ends before %d", after, upTo, seq)
			}
			return
		}
		if got[i].Seq != seq || !bytes.Equal(got[i].Data, data) {
			m.t.Fatalf("read gives %d where %d is due", got[i].Seq, seq)
		}
		total += len(data)
		i++
	}
	if i != len(got) {
		m.t.Fatalf("read gives %d, which is not there", got[i].Seq)
	}
}

// crash goes on with a copy of the files as they are.
func (m *model) crash() {
	dir, err := os.MkdirTemp(m.tb.TempDir(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	copyDir(m.tb, m.dir, dir)
	m.o.Close()
	m.dir = dir
	m.open()
	m.forgetAcks()
	m.absorb()
}

// forgetAcks takes over what the outbox knows to be acknowledged: after a
// crash that may be less, but never a seq that was not.
func (m *model) forgetAcks() {
	known := m.o.Acked()
	if extra := known.Minus(m.acked).Minus(m.named); !extra.Empty() { // what is named, and before the oldest segment, counts as acknowledged
		m.t.Fatalf("acknowledged by nobody: %s", extra)
	}
	m.acked = known
}

func TestModel(t *testing.T) { checkModel(t, -1) }

// TestModelThinning is the same with a budget of which little is free.
func TestModelThinning(t *testing.T) { checkModel(t, 0.003) }

func checkModel(t *testing.T, thinAt float64) {
	thinned := uint64(0)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		m := &model{t: rt, tb: t, dir: dir, committed: map[uint64][]byte{}, thinAt: thinAt,
			plants: []*plant{newPlant(t, "pump", 5, noon), newPlant(t, "fan", 30, noon+500)}}
		m.open()
		defer func() { m.o.Close() }()
		seqs := func(rt *rapid.T) protocol.Set {
			var s protocol.Set
			for range rapid.IntRange(0, 4).Draw(rt, "ranges") {
				first := rapid.Uint64Range(1, m.o.Head()+1).Draw(rt, "first")
				s.Add(first, min(m.o.Head(), first+rapid.Uint64Range(0, 200).Draw(rt, "more")))
			}
			return s
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(rt, "n") {
					m.append(rapid.SampledFrom([]int{1, 300, 400, 5000, 40000}).Draw(rt, "size"), rapid.Bool().Draw(rt, "urgent"))
					if m.o.pendingBytes > 2<<20 {
						m.commit()
					}
				}
			},
			"telemetry": func(rt *rapid.T) {
				for range rapid.IntRange(1, 600).Draw(rt, "n") {
					p := rapid.SampledFrom(m.plants).Draw(rt, "plant")
					m.appendMessage(p.message(t), p.schema, false)
				}
			},
			"thin": func(rt *rapid.T) {
				if len(m.pending) > 0 {
					m.commit()
				}
				for range rapid.IntRange(1, 10).Draw(rt, "steps") {
					thinStepOnce(m.o)
				}
				m.absorb()
			},
			"commit": func(*rapid.T) { m.commit() },
			"read": func(rt *rapid.T) {
				after := rapid.Uint64Range(0, m.o.Head()).Draw(rt, "after")
				m.read(after, rapid.Uint64Range(0, m.o.Head()+5).Draw(rt, "upTo"), rapid.IntRange(0, 200000).Draw(rt, "bytes"), seqs(rt))
			},
			"ack": func(rt *rapid.T) {
				s := seqs(rt)
				if err := m.o.Ack(s); err != nil {
					rt.Fatal(err)
				}
				m.acked.AddSet(s)
				m.absorb()
			},
			"reopen": func(rt *rapid.T) {
				if err := m.o.Close(); err != nil {
					rt.Fatal(err)
				}
				for seq, data := range m.pendingM { // Close commits
					m.committed[seq] = data
				}
				before := m.acked.Clone()
				m.open()
				m.seen = min(m.seen, m.o.Head())
				m.forgetAcks()
				if !before.Minus(m.acked).Empty() {
					rt.Fatalf("closed in order, and of the acks %s only %s is left", before, m.acked)
				}
				m.absorb()
			},
			"crash": func(*rapid.T) { m.crash() },
			"": func(rt *rapid.T) {
				m.read(0, m.o.Head(), 1<<30, protocol.Set{})
				if st := m.o.State(); st.Dropped != st.Thinned || st.Quarantined != 0 || m.thinAt < 0 && st.Thinned != 0 {
					rt.Fatalf("%+v", st)
				}
				thinned = max(thinned, m.named.Count())
			},
		})
	})
	if thinAt > 0 && thinned == 0 {
		t.Error("nothing was thinned")
	}
	t.Logf("at most %d messages of a run were thinned", thinned)
}
