package trace

import (
	"context"

	"tidemark/cloud/stream"
	"tidemark/protocol"
)

// row is a row of the ledger: one message, or several telemetry messages that
// stand next to each other in a bundle.
type row struct {
	id          int64 // number of its first message
	count       int
	gateway     *gateway
	kind        protocol.Type
	epoch       uint64
	first, last uint64 // smallest and largest seq
	trace       []byte // nil: derived from epoch and seq
	requestID   string
	requestCode string
	code        protocol.ResponseCode
	reason      string
	text        string
	timeMin     int64 // milliseconds since the Unix epoch, the gateway's clock
	timeMax     int64
	sequence    uint64 // in the device stream; 0 for a dead letter
	sentMs      int64
	receivedUs  int64
	committedUs int64
	items       []byte

	prev item // the newest item
}

func (r *row) add(it item) {
	r.items = appendItem(r.items, &it, &r.prev)
	if r.count == 0 {
		r.first, r.last, r.timeMin, r.timeMax = it.seqs.Min(), it.seqs.Max(), it.timeMs, it.timeMs
	}
	r.first, r.last = min(r.first, it.seqs.Min()), max(r.last, it.seqs.Max())
	r.timeMin, r.timeMax = min(r.timeMin, it.timeMs), max(r.timeMax, it.timeMs)
	r.count++
	r.prev = it
}

// takes reports whether m can stand in r beside what is there.
func (r *row) takes(m *protocol.Message) bool {
	return r.kind == protocol.TypeTelemetry && m.Type == protocol.TypeTelemetry && r.trace == nil && m.Trace == (protocol.TraceID{}) &&
		r.epoch == m.Epoch && r.requestID == "" && m.RequestID == "" && r.count < maxRun
}

// rowsOf makes the rows of an entry.
func (s *Service) rowsOf(ctx context.Context, g *gateway, e *stream.Entry, lookup protocol.LookupSchema) []*row {
	var out []*row
	var r *row
	for _, m := range e.Messages {
		if m.Type == protocol.TypeSchema {
			continue
		}
		if r == nil || !r.takes(m) {
			r = newRow(g, e, m)
			out = append(out, r)
		}
		r.add(item{seqs: m.Seqs(), timeMs: m.Time, bytes: len(m.Body), readings: readingsOf(m, lookup)})
		if e.SentMs > 0 {
			s.metrics.observe(protocol.Sent, (e.SentMs-m.Time)*1000)
		}
	}
	return out
}

func newRow(g *gateway, e *stream.Entry, m *protocol.Message) *row {
	r := &row{gateway: g, kind: m.Type, epoch: m.Epoch, requestID: m.RequestID, requestCode: m.RequestCode,
		code: m.ResponseCode, reason: m.Reason, sequence: e.Sequence, sentMs: e.SentMs, receivedUs: e.ReceivedUs, committedUs: e.CommittedUs}
	if m.Trace != (protocol.TraceID{}) {
		r.trace = m.Trace[:]
	}
	if r.code == "" {
		r.code = protocol.OK
	}
	return r
}

// readingsOf is scans times points: the size of the message, in which a point
// that was not read counts.
func readingsOf(m *protocol.Message, lookup protocol.LookupSchema) int {
	if m.Type != protocol.TypeTelemetry {
		return 0
	}
	id, scans, err := m.Scans()
	if err != nil {
		return 0 // the receiver commits none such
	}
	if sch := lookup(id); sch != nil {
		return scans * len(sch.Points)
	}
	return 0
}
