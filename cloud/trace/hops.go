package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

const (
	gatewayClock = "gateway"
	cloudClock   = "cloud"
)

// hops fills in the stages that a committed message passed, and where it is;
// seq is the one that was asked for, of those that it stands for.
func (s *Service) hops(ctx context.Context, m found, seq uint64, out *contract.TraceResult) error {
	queued := m.items[m.index].timeMs * 1000
	h := &hopList{}
	if m.kind == protocol.TypeTelemetry {
		at, then := s.sampled(ctx, m, seq)
		if then != 0 {
			queued = then
		}
		h.add(protocol.Sampled, at, gatewayClock)
	}
	h.add(protocol.Queued, queued, gatewayClock)
	h.add(protocol.Sent, m.sentMs*1000, gatewayClock)
	h.add(protocol.Received, m.receivedUs, cloudClock)
	h.add(protocol.Committed, m.committedUs, cloudClock)
	var times [3]int64
	for i, st := range laterStages {
		t, err := s.markOf(ctx, st, m.row.Sequence)
		if err != nil {
			return err
		}
		times[i] = t
		// Rules and data read the stream side by side: both count from the commit.
		h.prev = m.committedUs
		h.add(st, t, cloudClock)
	}
	out.Hops = h.hops
	out.Where = s.whereCommitted(ctx, m, times[0], times[1])
	return nil
}

func letterHops(m found) []contract.Hop {
	h := &hopList{}
	h.add(protocol.Received, m.receivedUs, cloudClock)
	h.add(protocol.Committed, 0, cloudClock)
	return h.hops
}

// hopList gathers hops, each with the time since the one before it that is known.
type hopList struct {
	hops []contract.Hop
	prev int64
}

func (h *hopList) add(st protocol.Stage, timeUs int64, clock string) {
	hop := contract.Hop{Stage: string(st), TimeUs: timeUs, Clock: clock}
	if timeUs > 0 {
		if h.prev > 0 {
			hop.DurationUs = max(0, timeUs-h.prev) // clocks that differ can say less than nothing
		}
		h.prev = timeUs
	}
	h.hops = append(h.hops, hop)
}

// whereCommitted says where a committed message is.
func (s *Service) whereCommitted(ctx context.Context, m found, ruled, stored int64) string {
	s.mu.RLock()
	newest := s.pos.Device
	ruledThrough, storedThrough := s.marks[protocol.Ruled].Through, s.marks[protocol.Stored].Through
	s.mu.RUnlock()
	if stored > 0 {
		text := fmt.Sprintf("stored %s after it was committed", span(stored-m.committedUs))
		if ruled == 0 {
			return text + fmt.Sprintf("; rules have not seen it: the rule service is %s behind, or is not running", bundles(newest-min(newest, ruledThrough)))
		}
		return text + "; everything passed"
	}
	// Its mark may have been said while this service was down: the data service knows.
	switch through, err := s.askStored(ctx); {
	case err == nil && through >= m.row.Sequence:
		return "stored, at a time that the ledger did not hear of; everything passed"
	case err == nil:
		return fmt.Sprintf("committed, not stored yet: the data service is %s behind", bundles(newest-min(newest, through)))
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Sprintf("committed, not stored: no data service is running; it has stored up to bundle %d, and this is bundle %d", storedThrough, m.row.Sequence)
	default:
		return fmt.Sprintf("committed, not stored yet as far as is known: the data service does not answer; it has stored up to bundle %d, and this is bundle %d", storedThrough, m.row.Sequence)
	}
}

// askStored asks the data service how far it has stored the stream.
func (s *Service) askStored(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	msg, err := s.conn.RequestWithContext(ctx, contract.ReqSeries, []byte(`{"limit":1}`))
	if err != nil {
		return 0, err
	}
	var r contract.SeriesResult
	if err := json.Unmarshal(msg.Data, &r); err != nil {
		return 0, err
	}
	if r.Problem != nil {
		return 0, r.Problem
	}
	return r.Through, nil
}

// whereMissing says why a trace id has no row: what its epoch and seq tell.
func (s *Service) whereMissing(id protocol.TraceID) (string, error) {
	epoch, seq := id.Origin()
	s.mu.RLock()
	defer s.mu.RUnlock()
	key := protocol.EpochString(epoch)
	for _, addr := range s.addresses("", "") {
		if g := s.gateways[addr]; (g == nil || g.facts.Epochs[key] == nil && !strings.Contains(g.tidemarks, key)) &&
			!strings.Contains(s.snapshots[addr].Tidemarks, key) && s.presence[addr].Epoch != key {
			continue
		}
		g, marks, err := s.known(addr)
		if err != nil {
			return "", err
		}
		return s.whereOf(g, marks.Of(epoch), key, seq), nil
	}
	return fmt.Sprintf("not known: no message carries this trace id, and no gateway has an outbox of epoch %s; is the id complete?", key), nil
}

func (s *Service) whereOf(g *gateway, committed protocol.Set, epoch string, seq uint64) string {
	l := g.facts.Epochs[epoch]
	switch {
	case l != nil && l.Dead.Contains(seq):
		return fmt.Sprintf("rejected: gateway %s sent it and it went to the dead letters; the ledger keeps its reason no longer", g.addr)
	case l != nil && l.Dropped.Contains(seq):
		for _, d := range l.Infos {
			if set, err := protocol.ParseSet(d.Ranges); err == nil && set.Contains(seq) {
				return fmt.Sprintf("dropped: gateway %s gave it up: %s", g.addr, sentence(d.Cause, d.Text))
			}
		}
		return fmt.Sprintf("dropped: gateway %s gave it up", g.addr)
	case committed.Contains(seq) && seq > 0:
		return fmt.Sprintf("committed: it is within the tidemark of gateway %s; the ledger keeps its row no longer, or has not read it yet", g.addr)
	}
	link := "is offline"
	if s.presence[g.addr].Online {
		link = "is online"
	}
	return fmt.Sprintf("not in the stream: gateway %s has committed up to seq %d, this is seq %d: still in its outbox or lost there; it %s",
		g.addr, committed.Max(), seq, link)
}

// span writes a duration in the unit that a person would take.
func span(us int64) string {
	d := time.Duration(max(us, 0)) * time.Microsecond
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return d.Round(time.Second).String()
}

func bundles(n uint64) string {
	if n == 1 {
		return "1 bundle"
	}
	return fmt.Sprintf("%d bundles", n)
}
