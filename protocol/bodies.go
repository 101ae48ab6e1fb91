package protocol

import (
	"maps"
	"slices"
	"strings"
)

// The bodies of the message types, and the payloads of topics that carry no
// bundles. All are CBOR maps with the integer keys given here.

// Ack is the payload of an ack topic: what the cloud has durably committed.
// Only an ack lets a gateway delete.
type Ack struct {
	Epoch     uint64      `cbor:"1,keyasint"`
	Committed Set         `cbor:"2,keyasint"`           // all of the epoch, not only what is new
	Need      [][]byte    `cbor:"3,keyasint,omitempty"` // ids of schemas that the cloud lacks; what names them is not committed
	Rejected  []Rejection `cbor:"4,keyasint,omitempty"` // seqs in Committed that went to the dead letters, when that just happened
	Time      int64       `cbor:"5,keyasint,omitempty"` // the receiver's clock, milliseconds since the Unix epoch
	Refused   []Refusal   `cbor:"6,keyasint,omitempty"` // bundles that were just refused as a whole: none of their seqs is committed
}

// Refusal says why a bundle was refused as a whole. What stands in it may not
// even be readable, so it is named by its payload.
type Refusal struct {
	Bundle []byte `cbor:"1,keyasint"` // as BundleID has it
	Reason string `cbor:"2,keyasint"` // machine-readable
	Text   string `cbor:"3,keyasint"` // one sentence for a person
}

// Rejection says why messages were not accepted.
type Rejection struct {
	First  uint64 `cbor:"1,keyasint"`
	Last   uint64 `cbor:"2,keyasint"`
	Reason string `cbor:"3,keyasint"` // machine-readable
	Text   string `cbor:"4,keyasint"` // one sentence for a person
}

// Presence is the payload of a presence topic, retained: a birth when the
// gateway has connected, and its last will. A presence with a lower session
// than the one known is stale and ignored.
type Presence struct {
	Online  bool   `cbor:"1,keyasint"`
	Session uint64 `cbor:"2,keyasint"` // grows with every connection of the gateway
	Epoch   uint64 `cbor:"3,keyasint"`
	Time    int64  `cbor:"4,keyasint,omitempty"` // of the birth, milliseconds since the Unix epoch
	Agent   string `cbor:"5,keyasint,omitempty"` // the agent's version
	Profile string `cbor:"6,keyasint,omitempty"` // the profile's version
	Boot    uint64 `cbor:"7,keyasint,omitempty"`
	// Graceful says that the agent went away on purpose.
	Graceful bool `cbor:"8,keyasint,omitempty"`
	// Gateway is site/gateway; if present it must be the topic's.
	Gateway string `cbor:"9,keyasint,omitempty"`
}

// Heartbeat is the body of a heartbeat: the gateway's state.
type Heartbeat struct {
	UptimeMs uint64                `cbor:"1,keyasint"`
	Agent    string                `cbor:"2,keyasint"`
	Profile  string                `cbor:"3,keyasint"`
	Outbox   OutboxState           `cbor:"4,keyasint"`
	Buses    []BusState            `cbor:"5,keyasint,omitempty"`
	Link     LinkState             `cbor:"6,keyasint"`
	Clock    ClockState            `cbor:"7,keyasint"`
	Hops     map[string]HopSummary `cbor:"8,keyasint,omitempty"` // by stage, since the heartbeat before
	// FlashBytesPerDay is what the agent writes to its disk, scaled to a day.
	FlashBytesPerDay uint64 `cbor:"9,keyasint,omitempty"`
	// Gateway is site/gateway; if present it must be the topic's.
	Gateway string `cbor:"10,keyasint,omitempty"`
}

// OutboxState is what the outbox holds.
type OutboxState struct {
	Depth       uint64 `cbor:"1,keyasint"` // messages not acknowledged
	Bytes       uint64 `cbor:"2,keyasint"` // on disk
	OldestMs    uint64 `cbor:"3,keyasint"` // age of the oldest message not acknowledged, milliseconds
	NextSeq     uint64 `cbor:"4,keyasint"` // the seq after the last committed one
	Dropped     uint64 `cbor:"5,keyasint"` // messages given up in this epoch
	Segments    uint64 `cbor:"6,keyasint"`
	Quarantined uint64 `cbor:"7,keyasint"`
	BudgetBytes uint64 `cbor:"8,keyasint"`
	Thinned     uint64 `cbor:"9,keyasint,omitempty" json:",omitempty"` // of Dropped, those that one-minute aggregates stand in for
}

// BusState is the health and freshness of one bus.
type BusState struct {
	Bus     string `cbor:"1,keyasint"`
	Driver  string `cbor:"2,keyasint"`
	Points  uint64 `cbor:"3,keyasint"`
	Fresh   uint64 `cbor:"4,keyasint"` // points with a good reading within three intervals
	Good    uint64 `cbor:"5,keyasint"` // readings since the heartbeat before
	Bad     uint64 `cbor:"6,keyasint"`
	Reason  string `cbor:"7,keyasint,omitempty"` // of the newest bad reading
	LateMax uint64 `cbor:"8,keyasint"`           // worst lateness of a poll since then, milliseconds
}

// LinkState is the state and statistics of the link.
type LinkState struct {
	Online     bool   `cbor:"1,keyasint"`
	Session    uint64 `cbor:"2,keyasint"`
	SinceMs    uint64 `cbor:"3,keyasint"` // in this state
	Published  uint64 `cbor:"4,keyasint"` // bundles, since the agent started
	Acks       uint64 `cbor:"5,keyasint"`
	BytesOut   uint64 `cbor:"6,keyasint"`
	InFlight   uint64 `cbor:"7,keyasint"`            // bytes
	AckMs      uint64 `cbor:"8,keyasint"`            // median time from publish to ack, milliseconds
	DrainEtaMs uint64 `cbor:"9,keyasint"`            // until the backlog is gone, 0 if there is none or it is not known
	Rung       string `cbor:"10,keyasint,omitempty"` // while offline: the failing rung of the ladder
}

// ClockState is what the gateway knows of its clock.
type ClockState struct {
	Quality ClockQuality `cbor:"1,keyasint"`
	BootID  string       `cbor:"2,keyasint"` // in full
	// CloudOffsetMs is the cloud's clock less the gateway's at the last ack.
	CloudOffsetMs int64 `cbor:"3,keyasint"`
}

// HopSummary is the action_duration_time of one stage.
type HopSummary struct {
	Count uint64 `cbor:"1,keyasint"`
	SumUs uint64 `cbor:"2,keyasint"` // microseconds
	MaxUs uint64 `cbor:"3,keyasint"`
}

// Dropped is the body of a dropped message: seqs of its own epoch that will
// never come, and why. A reading is lost only where one of these names it.
type Dropped struct {
	Ranges Set    `cbor:"1,keyasint"`
	Count  uint64 `cbor:"2,keyasint"` // messages
	Cause  string `cbor:"3,keyasint"` // one of the Cause constants
	Text   string `cbor:"4,keyasint"` // one sentence for a person
	// FromMs and ToMs bound the time of what is lost where that is known.
	FromMs int64 `cbor:"5,keyasint,omitempty"`
	ToMs   int64 `cbor:"6,keyasint,omitempty"`
	// By is the seqs of the messages that stand in for what is lost, if it was thinned.
	By Set `cbor:"7,keyasint,omitzero"`
}

// Why an outbox gives messages up.
const (
	CauseBudget  = "budget"  // the outbox was full; the oldest telemetry went first
	CauseCorrupt = "corrupt" // a segment could not be read
	CauseRefused = "refused" // the cloud refuses the message; it is in its dead letters
	CauseThinned = "thinned" // replaced by one-minute aggregates, which are in the messages that By names
)

// Clock is the body of a clock message: from it and a message's boot and
// monotonic time follows the message's true time.
type Clock struct {
	Boot    uint64       `cbor:"1,keyasint"`
	Mono    uint64       `cbor:"2,keyasint"` // milliseconds since that boot
	UTC     int64        `cbor:"3,keyasint"` // at that moment, milliseconds since the Unix epoch
	Quality ClockQuality `cbor:"4,keyasint"`
	StepMs  int64        `cbor:"5,keyasint,omitempty"` // how far the wall clock stepped, if that is why
}

// Outage is the body of an outage message: what the gateway saw of it.
type Outage struct {
	From    int64        `cbor:"1,keyasint"`           // milliseconds since the Unix epoch, the gateway's clock
	To      int64        `cbor:"2,keyasint,omitempty"` // absent while it lasts
	Entries []OutageStep `cbor:"3,keyasint"`
	Missed  uint64       `cbor:"4,keyasint,omitempty"` // changes that did not fit
}

// OutageStep is one change of the failing rung.
type OutageStep struct {
	Time int64  `cbor:"1,keyasint"`
	Rung string `cbor:"2,keyasint"` // one of the Rung constants
	Text string `cbor:"3,keyasint"` // what was seen
}

// The rungs of the ladder that a gateway walks while its link is down, from
// its own interface up to the receiver.
const (
	RungInterface   = "interface"
	RungRoute       = "route"
	RungDNS         = "dns"
	RungTCP         = "tcp"
	RungTLS         = "tls"
	RungCertificate = "certificate"
	RungConnack     = "connack"
	RungAck         = "ack"
)

// Event is the body of an event.
type Event struct {
	Code string            `cbor:"1,keyasint"` // such as agent.started
	Text string            `cbor:"2,keyasint"` // one sentence for a person
	Data map[string]string `cbor:"3,keyasint,omitempty"`
}

// The codes of events.
const (
	EventStarted = "agent.started"
	EventStopped = "agent.stopped"
	EventBusDown = "bus.down"
	EventBusUp   = "bus.up"
)

// clean makes a text from an operating system or a device one that a decoder
// takes: valid UTF-8 of at most MaxText bytes.
func clean(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), MaxText)], "")
}

// encodeBody returns v, one of the types above, as CBOR.
func encodeBody(v any) []byte {
	b, err := Marshal(v)
	if err != nil {
		panic("protocol: a body that does not encode: " + err.Error()) // only ints, bools and strings stand in them
	}
	return b
}

// Encode returns the payload of an ack topic. An ack holds at most MaxRanges
// ranges: of a set with more gaps it names the lowest. The gateway sends the
// rest again, which fills the gaps.
func (a *Ack) Encode() []byte {
	b := *a
	if r := b.Committed.ranges; len(r) > MaxRanges {
		b.Committed.ranges = r[:MaxRanges]
	}
	b.Rejected, b.Refused = slices.Clone(a.Rejected), slices.Clone(a.Refused)
	for i := range b.Rejected { // a text may quote what a gateway sent
		b.Rejected[i].Text = clean(b.Rejected[i].Text)
	}
	for i := range b.Refused {
		b.Refused[i].Text = clean(b.Refused[i].Text)
	}
	return encodeBody(&b)
}

// Encode returns the payload of a presence topic.
func (p *Presence) Encode() []byte { return encodeBody(p) }

// Encode returns the body of a message.
func (h *Heartbeat) Encode() []byte {
	c := *h
	c.Buses = slices.Clone(h.Buses)
	for i := range c.Buses {
		c.Buses[i].Reason = clean(c.Buses[i].Reason)
	}
	return encodeBody(&c)
}

// Encode returns the body of a message.
func (d *Dropped) Encode() []byte {
	c := *d
	c.Text = clean(d.Text)
	return encodeBody(&c)
}

// Encode returns the body of a message.
func (c *Clock) Encode() []byte { return encodeBody(c) }

// Encode returns the body of a message.
func (o *Outage) Encode() []byte {
	c := *o
	c.Entries = slices.Clone(o.Entries)
	for i := range c.Entries {
		c.Entries[i].Text = clean(c.Entries[i].Text)
	}
	return encodeBody(&c)
}

// Encode returns the body of a message.
func (e *Event) Encode() []byte {
	c := *e
	c.Text = clean(e.Text)
	c.Data = maps.Clone(e.Data)
	for k, v := range c.Data {
		c.Data[k] = clean(v)
	}
	return encodeBody(&c)
}
