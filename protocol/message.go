package protocol

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// ClockQuality says how far the wall clock of a message can be trusted.
type ClockQuality uint8

// The clock qualities. Their numbers stand in messages.
const (
	ClockUnknown  ClockQuality = 0 // not set since boot: the time may be anything
	ClockSet      ClockQuality = 1 // set by an RTC, a person or another source, not known to be kept right
	ClockSynced   ClockQuality = 2 // kept right by NTP, PTP or GNSS
	ClockRecorded ClockQuality = 3 // reading times come from a recording; they are not to be placed by a clock message
)

func (q ClockQuality) String() string {
	if int(q) < 4 {
		return [...]string{"unknown", "set", "synced", "recorded"}[q]
	}
	return fmt.Sprintf("clock_%d", uint8(q))
}

// TraceID is a W3C trace id.
type TraceID [16]byte

func (id TraceID) String() string { return hex.EncodeToString(id[:]) }

// ParseTraceID reads 32 hexadecimal digits.
func ParseTraceID(s string) (id TraceID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, refuse(ReasonMalformed, "trace id", "%.40q is not 32 hexadecimal digits", s)
	}
	copy(id[:], b)
	return id, nil
}

// TraceIDOf returns the trace id of a message that has none of its own: its
// epoch and its seq, so that the id of any message leads to its place in the
// gateway's outbox and in the tidemark.
func TraceIDOf(epoch, seq uint64) (id TraceID) {
	binary.BigEndian.PutUint64(id[:8], epoch)
	binary.BigEndian.PutUint64(id[8:], seq)
	return id
}

// Origin returns the epoch and seq that a trace id made by TraceIDOf names.
func (id TraceID) Origin() (epoch, seq uint64) {
	return binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
}

// Message is the unit that crosses a boundary: one type, one place in the
// gateway's order, one body.
type Message struct {
	Type  Type
	Epoch uint64 // of the outbox that numbered it; never 0
	Seq   uint64 // its place in the epoch, from 1; 0 only for TypeSchema
	Time  int64  // wall clock when it was queued, milliseconds since the Unix epoch
	Boot  uint64 // the first 64 bits of the boot's id
	Mono  uint64 // milliseconds since that boot
	Clock ClockQuality

	// Trace and Parent are set only where the message continues a trace that
	// another party began, such as a reply to a request.
	Trace  TraceID
	Parent [8]byte

	// What a reply answers. Reason and code are empty for other types.
	RequestID    string
	RequestCode  string
	ResponseCode ResponseCode
	Reason       string

	// Body is the CBOR of the type's body.
	Body []byte

	// Parts is set where the message stands for several telemetry messages
	// of one schema whose scans were joined into longer columns.
	Parts []Part
}

// Part is one message of several joined ones: Seq, Time and Mono of the
// first are the joined message's own.
type Part struct {
	Seq   uint64
	Time  int64
	Mono  uint64
	Scans int
}

// wireMessage is a message in a bundle. Epoch, boot and clock that are absent
// are those of the message before it in the bundle.
type wireMessage struct {
	Type     Type            `cbor:"0,keyasint"`
	Epoch    *uint64         `cbor:"1,keyasint,omitempty"`
	Seq      uint64          `cbor:"2,keyasint,omitempty"`
	Time     int64           `cbor:"3,keyasint,omitempty"`
	Boot     *uint64         `cbor:"4,keyasint,omitempty"`
	Mono     uint64          `cbor:"5,keyasint,omitempty"`
	Clock    *ClockQuality   `cbor:"6,keyasint,omitempty"`
	Trace    []byte          `cbor:"7,keyasint,omitempty"`
	Body     cbor.RawMessage `cbor:"8,keyasint"`
	Parts    []int64         `cbor:"9,keyasint,omitempty"`
	ReqID    string          `cbor:"10,keyasint,omitempty"`
	ReqCode  string          `cbor:"11,keyasint,omitempty"`
	RespCode ResponseCode    `cbor:"12,keyasint,omitempty"`
	Reason   string          `cbor:"13,keyasint,omitempty"`
}

// TraceID returns the trace that the message belongs to.
func (m *Message) TraceID() TraceID {
	if m.Trace != (TraceID{}) {
		return m.Trace
	}
	return TraceIDOf(m.Epoch, m.Seq)
}

// Traceparent returns the W3C traceparent (Trace Context level 1, section 3.2)
// for what is done on behalf of the message. Its parent id is the message's seq.
func (m *Message) Traceparent() string {
	return fmt.Sprintf("00-%s-%016x-01", m.TraceID(), m.Seq)
}

// Seqs returns the seqs that the message stands for: several if it was joined.
func (m *Message) Seqs() Set {
	var s Set
	s.Add(m.Seq, m.Seq)
	for _, p := range m.Parts {
		s.Add(p.Seq, p.Seq)
	}
	return s
}

// Count returns the number of messages that m stands for.
func (m *Message) Count() int { return max(1, len(m.Parts)) }

// Encode returns the message's encoding, complete in itself.
func (m *Message) Encode() ([]byte, error) { return m.encode(nil) }

// encode leaves out what is the same in prev, the message before it in a bundle.
func (m *Message) encode(prev *Message) ([]byte, error) {
	w := wireMessage{Type: m.Type, Seq: m.Seq, Time: m.Time, Mono: m.Mono, Body: m.Body,
		ReqID: m.RequestID, ReqCode: m.RequestCode, RespCode: m.ResponseCode, Reason: m.Reason}
	if m.Type != TypeSchema {
		if prev == nil || prev.Epoch != m.Epoch {
			w.Epoch = &m.Epoch
		}
		if prev == nil || prev.Boot != m.Boot {
			w.Boot = &m.Boot
		}
		if prev == nil || prev.Clock != m.Clock {
			w.Clock = &m.Clock
		}
	}
	if m.Trace != (TraceID{}) {
		w.Trace = append(append(w.Trace, m.Trace[:]...), m.Parent[:]...)
	}
	w.Parts = flattenParts(m)
	b, err := Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("protocol: encode message: %w", err)
	}
	if len(b) > m.limit() {
		return nil, refuse(ReasonTooLarge, "message", "%d bytes are over the limit of %d", len(b), m.limit())
	}
	return b, nil
}

// limit returns the largest size of the message's encoding.
func (m *Message) limit() int {
	if m.Type == TypeSchema {
		return MaxSchema + 64
	}
	return MaxMessage
}

// flattenParts writes parts as the scans of the first, then for each further
// one its distance in seq, time and mono from the one before, and its scans.
func flattenParts(m *Message) []int64 {
	if len(m.Parts) == 0 {
		return nil
	}
	out := make([]int64, 1, 4*len(m.Parts))
	out[0] = int64(m.Parts[0].Scans)
	for i := 1; i < len(m.Parts); i++ {
		p, q := m.Parts[i-1], m.Parts[i]
		out = append(out, int64(q.Seq-p.Seq), q.Time-p.Time, int64(q.Mono-p.Mono), int64(q.Scans))
	}
	return out
}

func parseParts(flat []int64, m *Message) error {
	if len(flat) == 0 {
		return nil
	}
	if len(flat)%4 != 1 || len(flat)/4 >= MaxReadings || m.Type != TypeTelemetry || flat[0] < 1 || flat[0] > MaxReadings {
		return refuse(ReasonMalformed, "parts", "%d numbers, not 4n+1, or no telemetry, or no scans", len(flat))
	}
	p := Part{m.Seq, m.Time, m.Mono, int(flat[0])}
	m.Parts = append(make([]Part, 0, 1+len(flat)/4), p)
	for f := flat[1:]; len(f) > 0; f = f[4:] {
		if f[0] < 1 || p.Seq+uint64(f[0]) < p.Seq || f[3] < 1 || f[3] > MaxReadings {
			return refuse(ReasonMalformed, "parts", "a part that is not after the one before it, or has no scans")
		}
		p = Part{p.Seq + uint64(f[0]), p.Time + f[1], p.Mono + uint64(f[2]), int(f[3])}
		m.Parts = append(m.Parts, p)
	}
	return nil
}

// DecodeMessage reads one message that is complete in itself.
func DecodeMessage(data []byte) (*Message, error) {
	m, rest, err := decodeMessage(data, nil)
	if err != nil {
		return nil, at("message", err)
	}
	if len(rest) > 0 {
		return nil, refuse(ReasonMalformed, "message", "%d bytes behind it", len(rest))
	}
	return m, nil
}

// decodeMessage reads the first message of data. What it leaves out is taken
// from prev, which is nil for the first of a bundle.
func decodeMessage(data []byte, prev *Message) (*Message, []byte, error) {
	var w wireMessage
	rest, err := decMode.UnmarshalFirst(data, &w)
	if err != nil {
		return nil, nil, at("", err)
	}
	m := &Message{Type: w.Type, Seq: w.Seq, Time: w.Time, Mono: w.Mono, Body: w.Body,
		RequestID: w.ReqID, RequestCode: w.ReqCode, ResponseCode: w.RespCode, Reason: w.Reason}
	if n := len(data) - len(rest); n > m.limit() {
		return nil, nil, refuse(ReasonTooLarge, "", "%d bytes are over the limit of %d", n, m.limit())
	}
	if len(w.Body) == 0 {
		return nil, nil, refuse(ReasonMalformed, "", "no body")
	}
	if w.Type == TypeSchema {
		if w.Seq != 0 {
			return nil, nil, refuse(ReasonMalformed, "", "a schema with a seq")
		}
		return m, rest, nil
	}
	if err := m.inherit(&w, prev); err != nil {
		return nil, nil, err
	}
	switch {
	case m.Epoch == 0 || m.Seq == 0:
		return nil, nil, refuse(ReasonMalformed, "", "epoch or seq is 0")
	case w.Trace != nil && (len(w.Trace) != 24 || [16]byte(w.Trace) == TraceID{}):
		return nil, nil, refuse(ReasonMalformed, "", "a trace of %d bytes, not 24, or of zeros", len(w.Trace))
	case len(w.ReqID) > 128 || len(w.ReqCode) > 128 || len(w.Reason) > MaxText:
		return nil, nil, refuse(ReasonTooLarge, "", "a request id, request code or reason that is too long")
	case w.RespCode != "" && !w.RespCode.Valid():
		return nil, nil, refuse(ReasonMalformed, "", "%.40q is not a response code", string(w.RespCode))
	case w.Clock != nil && *w.Clock > ClockRecorded:
		return nil, nil, refuse(ReasonMalformed, "", "clock quality %d", *w.Clock)
	}
	if w.Trace != nil {
		copy(m.Trace[:], w.Trace)
		copy(m.Parent[:], w.Trace[16:])
	}
	return m, rest, parseParts(w.Parts, m)
}

func (m *Message) inherit(w *wireMessage, prev *Message) error {
	if prev == nil {
		if w.Epoch == nil || w.Boot == nil || w.Clock == nil {
			return refuse(ReasonMalformed, "", "the first message does not say its epoch, boot and clock")
		}
		prev = &Message{}
	}
	m.Epoch, m.Boot, m.Clock = prev.Epoch, prev.Boot, prev.Clock
	if w.Epoch != nil {
		m.Epoch = *w.Epoch
	}
	if w.Boot != nil {
		m.Boot = *w.Boot
	}
	if w.Clock != nil {
		m.Clock = *w.Clock
	}
	return nil
}
