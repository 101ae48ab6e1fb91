//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/protocol"
	"tidemark/test/dataset"
)

// key names a reading: a point has one at a time.
type key struct {
	tag int
	at  int64
}

// tally is what the stream holds of one gateway.
type tally struct {
	readings, duplicated int
	seen                 map[key]bool
	firstQueuedMs        int64 // telemetry
	lastCommittedUs      int64
	lastSequence         uint64 // in the stream, of telemetry
	ages                 []age
}

// age is how old the first point of a sweep was when it was committed.
type age struct {
	at      int64 // milliseconds since the Unix epoch
	seconds float64
}

// count reads the whole stream as it is now, of one gateway.
func count(ctx context.Context, natsAddr, gateway string) (*tally, error) {
	conn, err := nats.Connect("nats://" + natsAddr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	s, err := js.Stream(ctx, contract.StreamDevice)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader := stream.NewReader(js, slog.New(slog.DiscardHandler))
	entries := make(chan *stream.Entry, 4)
	done := make(chan error, 1)
	go func() { done <- reader.Run(ctx, 0, entries) }()
	t := &tally{seen: map[key]bool{}}
	last := s.CachedInfo().State.LastSeq
	for e := range entries {
		if e.Gateway.Name == gateway {
			if err := t.add(e, reader.Lookup(ctx)); err != nil {
				return nil, err
			}
		}
		if e.Sequence >= last {
			return t, nil
		}
	}
	return nil, errors.Join(errors.New("the stream ended early"), <-done)
}

func (t *tally) add(e *stream.Entry, lookup protocol.LookupSchema) error {
	for _, m := range e.Messages {
		if m.Type != protocol.TypeTelemetry {
			continue
		}
		tel, err := m.Telemetry(lookup)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Sequence, err)
		}
		if t.firstQueuedMs == 0 {
			t.firstQueuedMs = m.Time
		}
		t.lastCommittedUs, t.lastSequence = e.CommittedUs, e.Sequence
		for p := range tel.Columns {
			tag, ok := dataset.ByName[dataset.Site+"/"+slashed(tel.Schema.Points[p].Name)]
			if !ok {
				return fmt.Errorf("entry %d: point %s is not of the data set", e.Sequence, tel.Schema.Points[p].Name)
			}
			for scan := range tel.Scans {
				if q, _ := tel.Columns[p].Quality(scan); q != protocol.Good {
					continue
				}
				at := tel.Time(scan, p)
				t.reading(key{tag, at})
				if p == 0 {
					t.ages = append(t.ages, age{at, float64(e.CommittedUs/1000-at) / 1000})
				}
			}
		}
	}
	return nil
}

func slashed(point string) string {
	b := []byte(point)
	if i := slices.Index(b, '.'); i >= 0 {
		b[i] = '/'
	}
	return string(b)
}

func (t *tally) reading(k key) {
	if t.seen[k] {
		t.duplicated++
		return
	}
	t.seen[k] = true
	t.readings++
}

// check books what is missing of n readings, and what is there twice.
func (t *tally) check(r *report, n int) {
	r.sum("lost", float64(max(n-t.readings, 0)))
	r.sum("duplicated", float64(t.duplicated))
}
