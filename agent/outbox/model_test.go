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
}

func (m *model) open() {
	o, err := Open(m.tb.Context(), Config{Dir: m.dir, SegmentBytes: 64 << 10, Budget: 64 << 20, CommitBytes: 1 << 20, Log: quiet()})
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
	msg := event(size)
	tk, err := m.o.Append(m.tb.Context(), msg, nil, urgent)
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
}

func (m *model) read(after, upTo uint64, maxBytes int, skip protocol.Set) {
	got, err := m.o.Read(after, upTo, maxBytes, skip)
	if err != nil {
		m.t.Fatal(err)
	}
	i, total := 0, 0
	for seq := after + 1; seq <= min(upTo, m.o.Head()); seq++ {
		data, ok := m.committed[seq]
		if !ok || m.acked.Contains(seq) || skip.Contains(seq) {
			continue
		}
		if i == len(got) {
			if i == 0 || total+len(data) <= maxBytes {
				m.t.Fatalf("read of %d..%d ends before %d", after, upTo, seq)
			}
			return
		}
		if got[i].Seq != seq || !bytes.Equal(got[i].Data, data) || got[i].Type != protocol.TypeEvent {
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
}

// forgetAcks takes over what the outbox knows to be acknowledged: after a
// crash that may be less, but never a seq that was not.
func (m *model) forgetAcks() {
	known := m.o.Acked()
	if extra := known.Minus(m.acked); !extra.Empty() {
		m.t.Fatalf("acknowledged by nobody: %s", extra)
	}
	m.acked = known
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		m := &model{t: rt, tb: t, dir: dir, committed: map[uint64][]byte{}}
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
				m.forgetAcks()
				if !before.Equal(m.acked) {
					rt.Fatalf("closed in order, and of the acks %s only %s is left", before, m.acked)
				}
			},
			"crash": func(*rapid.T) { m.crash() },
			"": func(rt *rapid.T) {
				m.read(0, m.o.Head(), 1<<30, protocol.Set{})
				if st := m.o.State(); st.Dropped != 0 || st.Quarantined != 0 {
					rt.Fatalf("%+v", st)
				}
			},
		})
	})
}
