package trace

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/protocol"
)

// How much of a gateway's past its state shows; the account counts all of it.
const (
	maxOutages = 50
	maxDropped = 100  // of an epoch
	maxSteps   = 100  // of an outage
	maxShown   = 1024 // bytes of a text or a list of ranges
)

// clip shortens a text to maxShown bytes, at the start of a character.
func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	n := maxShown
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// gateway is what the ledger knows of a gateway.
type gateway struct {
	id, site  int64
	addr      protocol.Gateway
	tidemarks string // as in the header of its newest entry
	sequence  uint64 // of that entry
	seenMs    int64
	prior     string              // tidemarks before that entry, while it is taken in
	entry     []*protocol.Message // of that entry, while it is taken in
	facts     facts

	factsChanged bool // since they were written
}

// facts is what the gateway said of itself.
type facts struct {
	HeartbeatMs    int64                 `json:"heartbeat_ms,omitempty"`
	HeartbeatEpoch string                `json:"heartbeat_epoch,omitempty"`
	HeartbeatSeq   uint64                `json:"heartbeat_seq,omitempty"`
	Agent          string                `json:"agent,omitempty"`
	Profile        string                `json:"profile,omitempty"`
	Outbox         *contract.OutboxState `json:"outbox,omitempty"`
	Buses          []contract.BusState   `json:"buses,omitempty"`
	Link           *contract.LinkState   `json:"link,omitempty"`
	Clock          string                `json:"clock,omitempty"`
	Outages        []contract.Outage     `json:"outages,omitempty"`
	Epochs         map[string]*lost      `json:"epochs,omitempty"`
}

// lost is what of an epoch will never be readings in the stream.
type lost struct {
	Infos   []contract.DroppedInfo `json:"infos,omitempty"` // newest first
	Dropped seqSet                 `json:"dropped,omitempty"`
	Dead    seqSet                 `json:"dead,omitempty"`
}

// seqSet is a set of seqs with a form in JSON that knows no limit of ranges.
type seqSet struct{ protocol.Set }

func (s seqSet) MarshalJSON() ([]byte, error) {
	out := make([][2]uint64, 0, len(s.Ranges()))
	for _, r := range s.Ranges() {
		out = append(out, [2]uint64{r.First, r.Last})
	}
	return json.Marshal(out)
}

func (s *seqSet) UnmarshalJSON(data []byte) error {
	var flat [][2]uint64
	if err := json.Unmarshal(data, &flat); err != nil {
		return err
	}
	for _, r := range flat {
		s.Add(r[0], r[1])
	}
	return nil
}

// epoch returns what was lost of an epoch, to be changed.
func (g *gateway) epoch(e uint64) *lost {
	key := protocol.EpochString(e)
	if g.facts.Epochs == nil {
		g.facts.Epochs = map[string]*lost{}
	}
	l := g.facts.Epochs[key]
	if l == nil {
		for other := range g.facts.Epochs { // the cloud keeps tidemarks of a few epochs, and so does the ledger
			if len(g.facts.Epochs) >= 2*protocol.MaxEpochs && !strings.Contains(g.tidemarks, other) {
				delete(g.facts.Epochs, other)
			}
		}
		l = &lost{}
		g.facts.Epochs[key] = l
	}
	g.factsChanged = true
	return l
}

// note takes over what an entry says of the gateway.
func (g *gateway) note(e *stream.Entry) {
	g.prior, g.entry = g.tidemarks, e.Messages
	g.tidemarks, g.sequence, g.seenMs = e.Tidemarks, e.Sequence, e.CommittedUs/1000
}

// arrived returns the seqs of an epoch that are in the stream with the entry
// noted last. Its tidemark covers what its dropped messages name besides.
func (g *gateway) arrived(epoch uint64) protocol.Set {
	marks, err := protocol.ParseTidemarks(g.prior)
	if err != nil {
		return protocol.Set{} // the receiver writes none that does not parse
	}
	seqs := marks.Of(epoch).Clone()
	for _, m := range g.entry {
		if m.Epoch == epoch {
			seqs.AddSet(m.Seqs())
		}
	}
	return seqs
}

// hear takes over what a message says of the gateway. It returns a reason and
// a sentence for the message's row where the body holds them.
func (g *gateway) hear(m *protocol.Message) (reason, text string, err error) {
	switch m.Type {
	case protocol.TypeHeartbeat:
		var h protocol.Heartbeat
		if err = protocol.Unmarshal(m.Body, &h); err == nil {
			g.hearHeartbeat(m, &h)
		}
	case protocol.TypeDropped:
		var d protocol.Dropped
		if err = protocol.Unmarshal(m.Body, &d); err == nil {
			g.hearDropped(m.Epoch, &d)
			return clip(d.Cause), clip(d.Text), nil
		}
	case protocol.TypeOutage:
		var o protocol.Outage
		if err = protocol.Unmarshal(m.Body, &o); err == nil {
			g.hearOutage(&o)
		}
	case protocol.TypeEvent:
		var e protocol.Event
		if err = protocol.Unmarshal(m.Body, &e); err == nil {
			return clip(e.Code), clip(e.Text), nil
		}
	}
	return "", "", err
}

// hearHeartbeat keeps the newest: a backlog brings older ones after it.
func (g *gateway) hearHeartbeat(m *protocol.Message, h *protocol.Heartbeat) {
	f, epoch := &g.facts, protocol.EpochString(m.Epoch)
	if f.HeartbeatEpoch == epoch && f.HeartbeatSeq >= m.Seq {
		return
	}
	f.HeartbeatMs, f.HeartbeatEpoch, f.HeartbeatSeq = m.Time, epoch, m.Seq
	f.Agent, f.Profile, f.Clock = h.Agent, h.Profile, h.Clock.Quality.String()
	f.Outbox = &contract.OutboxState{Depth: h.Outbox.Depth, Bytes: h.Outbox.Bytes, OldestMs: h.Outbox.OldestMs, NextSeq: h.Outbox.NextSeq,
		Dropped: h.Outbox.Dropped, Quarantined: h.Outbox.Quarantined, BudgetBytes: h.Outbox.BudgetBytes}
	f.Link = &contract.LinkState{Online: h.Link.Online, Published: h.Link.Published, Acks: h.Link.Acks, BytesOut: h.Link.BytesOut,
		AckMs: h.Link.AckMs, DrainEtaMs: h.Link.DrainEtaMs, Rung: h.Link.Rung}
	f.Buses = make([]contract.BusState, len(h.Buses))
	for i, b := range h.Buses {
		f.Buses[i] = contract.BusState{Bus: b.Bus, Driver: b.Driver, Points: b.Points, Fresh: b.Fresh, Good: b.Good, Bad: b.Bad, Reason: b.Reason}
	}
	g.factsChanged = true
}

func (g *gateway) hearDropped(epoch uint64, d *protocol.Dropped) {
	l := g.epoch(epoch)
	l.Dropped.AddSet(d.Ranges.Minus(g.arrived(epoch)))
	info := contract.DroppedInfo{Ranges: clip(d.Ranges.String()), Count: d.Count, Cause: clip(d.Cause), Text: clip(d.Text), FromMs: d.FromMs, ToMs: d.ToMs}
	l.Infos = slices.Insert(l.Infos, 0, info)
	l.Infos = l.Infos[:min(len(l.Infos), maxDropped)]
}

// hearOutage keeps outages newest first; the same outage is told while it
// lasts and again when it is over, and the longer telling wins.
func (g *gateway) hearOutage(o *protocol.Outage) {
	steps := o.Entries[:min(len(o.Entries), maxSteps)]
	out := contract.Outage{FromMs: o.From, ToMs: o.To, Steps: make([]contract.OutageStep, len(steps))}
	for i, st := range steps {
		out.Steps[i] = contract.OutageStep{TimeMs: st.Time, Rung: clip(st.Rung), Text: clip(st.Text)}
	}
	list := g.facts.Outages
	i, found := slices.BinarySearchFunc(list, o.From, func(a contract.Outage, from int64) int {
		switch {
		case a.FromMs > from:
			return -1
		case a.FromMs < from:
			return 1
		}
		return 0
	})
	switch {
	case found && list[i].ToMs <= out.ToMs:
		list[i] = out
	case !found:
		list = slices.Insert(list, i, out)
	}
	g.facts.Outages = list[:min(len(list), maxOutages)]
	g.factsChanged = true
}

// account balances the messages of an epoch. In is every message that is known
// to have been numbered: by the newest heartbeat, or because it arrived or was
// given up since. committed is the tidemark, which covers what was given up and
// what is dead too; dropped is what was given up and had not arrived before.
func account(committed, dropped, dead protocol.Set, nextSeq uint64) contract.Account {
	top := max(committed.Max(), dropped.Max(), dead.Max())
	if nextSeq > 0 {
		top = max(top, nextSeq-1)
	}
	var all protocol.Set
	all.Add(1, top)
	lost := dropped.Minus(dead)
	arrived := committed.Minus(dead).Minus(lost)
	return contract.Account{In: all.Count(), Out: arrived.Count(), Dropped: lost.Count(), Dead: dead.Count(),
		InFlight: all.Minus(committed).Minus(dead).Minus(dropped).Count()}
}
