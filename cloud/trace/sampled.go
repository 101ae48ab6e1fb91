package trace

import (
	"context"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// sampled looks into the stream for when the oldest reading of a telemetry
// message was taken, and when the message was queued, both in microseconds by
// the gateway's clock. The ledger is free of payload and keeps neither; an entry
// that retention has removed leaves both 0.
func (s *Service) sampled(ctx context.Context, m found, seq uint64) (sampledUs, queuedUs int64) {
	str, err := s.js.Stream(ctx, contract.StreamDevice)
	if err != nil {
		return 0, 0
	}
	raw, err := str.GetMsg(ctx, m.row.Sequence)
	if err != nil {
		return 0, 0
	}
	msgs, err := protocol.DecodeBundle(raw.Data)
	if err != nil {
		return 0, 0
	}
	for _, msg := range msgs {
		if msg.Type != protocol.TypeTelemetry || !msg.Seqs().Contains(seq) {
			continue
		}
		t, err := msg.TelemetryOf(s.reader.Lookup(ctx), func(int) bool { return false })
		if err != nil {
			return 0, 0
		}
		scan, queued := placeOf(msg, seq)
		return t.Times[scan*len(t.Schema.Groups)] * 1000, queued * 1000
	}
	return 0, 0
}

// placeOf returns the first scan of a seq in a message, which may be joined,
// and when that seq was queued.
func placeOf(m *protocol.Message, seq uint64) (scan int, timeMs int64) {
	for _, p := range m.Parts {
		if p.Seq == seq {
			return scan, p.Time
		}
		scan += p.Scans
	}
	return 0, m.Time
}
