package trace

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// subscribeMarks hears the hop marks of the other services. A mark that finds
// no room is lost, as one said while this service is down: the next covers it.
func (s *Service) subscribeMarks() (<-chan contract.HopMark, func(), error) {
	out := make(chan contract.HopMark, 4096)
	sub, err := s.conn.Subscribe(contract.SubjectHop+"*", func(msg *nats.Msg) {
		var m contract.HopMark
		err := json.Unmarshal(msg.Data, &m)
		if err != nil || !slices.Contains(laterStages, m.Stage) || m.Through == 0 || m.TimeUs <= 0 {
			s.metrics.badMarks.Inc()
			return
		}
		select {
		case out <- m:
		default:
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return out, func() { _ = sub.Unsubscribe() }, nil // fails only on a closed connection
}

// takeMark keeps a mark that goes further than the one before it.
func (k *keeper) takeMark(m contract.HopMark) {
	if m.Through <= k.marks[m.Stage].Through {
		return
	}
	k.mu.Lock()
	k.marks[m.Stage] = m
	k.unwritten = append(k.unwritten, m)
	k.mu.Unlock()
	p := k.passing[m.Stage]
	n := 0
	for n < len(p) && p[n].sequence <= m.Through {
		k.metrics.observe(m.Stage, m.TimeUs-p[n].committedUs)
		n++
	}
	k.passing[m.Stage] = slices.Delete(p, 0, n)
}

// watch calls note for every value of a bucket, those that are there first.
func (s *Service) watch(ctx context.Context, bucket string, note func(protocol.Gateway, []byte)) {
	for ctx.Err() == nil {
		err := s.follow(ctx, bucket, note)
		if ctx.Err() != nil {
			return
		}
		s.cfg.Log.Warn("watching a bucket was interrupted; it is taken up again", "bucket", bucket, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (s *Service) follow(ctx context.Context, bucket string, note func(protocol.Gateway, []byte)) error {
	kv, err := s.js.KeyValue(ctx, bucket)
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer w.Stop() //nolint:errcheck // fails only on a closed connection
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case v, ok := <-w.Updates():
			if !ok {
				return nats.ErrConnectionClosed
			}
			if v == nil || v.Operation() != jetstream.KeyValuePut {
				continue
			}
			site, name, _ := strings.Cut(v.Key(), ".")
			if protocol.ValidName(site) && protocol.ValidName(name) {
				note(protocol.Gateway{Site: site, Name: name}, v.Value())
			}
		}
	}
}

func (s *Service) notePresence(g protocol.Gateway, value []byte) {
	var p contract.Presence
	if json.Unmarshal(value, &p) != nil {
		return // the receiver writes none such
	}
	s.mu.Lock()
	s.presence[g] = p
	s.mu.Unlock()
}

// noteSnapshot keeps the tidemarks of a gateway whose entries the ledger has
// not read, because they left the stream before.
func (s *Service) noteSnapshot(g protocol.Gateway, value []byte) {
	var snap contract.TidemarkSnapshot
	if json.Unmarshal(value, &snap) != nil {
		return // the receiver writes none such
	}
	s.mu.Lock()
	s.snapshots[g] = snap
	s.mu.Unlock()
}
