package trace

import (
	"context"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream"
	"tidemark/protocol"
)

// maxBatch is how many rows are gathered at most before they are written.
const maxBatch = 4000

// maxPassing bounds the entries whose later stages are waited for, to be
// timed; those behind are not timed.
const maxPassing = 1 << 16

// batch is what is gathered for the next transaction.
type batch struct {
	rows  []*row
	dirty map[*gateway]bool
	moved bool // a position changed
}

func (k *keeper) empty() bool {
	return !k.batch.moved && len(k.batch.rows) == 0 && len(k.unwritten) == 0 && len(k.batch.dirty) == 0
}

// passing is an entry on its way through the later stages.
type passing struct {
	sequence    uint64
	committedUs int64
}

// keeper is the ledger's loop: the only writer.
type keeper struct {
	*Service
	batch   batch
	pos     position
	passing map[protocol.Stage][]passing
}

// keep takes in what arrives and writes it, a transaction each CommitEvery.
func (s *Service) keep(ctx context.Context, entries <-chan *stream.Entry, letters <-chan *letter, marks <-chan contract.HopMark) error {
	k := &keeper{Service: s, pos: s.pos, batch: batch{dirty: map[*gateway]bool{}}, passing: map[protocol.Stage][]passing{}}
	lookup := s.reader.Lookup(ctx)
	tick := time.NewTicker(s.cfg.CommitEvery)
	defer tick.Stop()
	clean := time.NewTicker(retireEvery)
	defer clean.Stop()
	for {
		select {
		case e, ok := <-entries:
			if !ok { // the reader ended, as it does with ctx
				return k.flush(context.WithoutCancel(ctx))
			}
			k.takeEntry(ctx, e, lookup)
		case l := <-letters:
			k.takeLetter(l)
		case m := <-marks:
			k.takeMark(m)
		case <-tick.C:
			if err := k.flush(ctx); err != nil {
				return err
			}
		case <-clean.C:
			clean.Reset(k.retire())
		}
		if len(k.batch.rows) >= maxBatch {
			if err := k.flush(ctx); err != nil {
				return err
			}
		}
	}
}

func (k *keeper) takeEntry(ctx context.Context, e *stream.Entry, lookup protocol.LookupSchema) {
	if e.Gateway == (protocol.Gateway{}) { // its subject names none
		k.pos.Device, k.batch.moved = e.Sequence, true
		return
	}
	g := k.gateway(e.Gateway)
	rows := k.rowsOf(ctx, g, e, lookup)
	if ctx.Err() != nil { // schemas may be missing because of that: the entry is read again after the start
		return
	}
	k.pos.Device, k.batch.moved = e.Sequence, true
	k.metrics.entries.Inc()
	k.metrics.missed.Add(float64(e.Missed))
	k.mu.Lock()
	g.note(e)
	k.newestUs = e.CommittedUs
	next := 0
	for _, m := range e.Messages {
		if m.Type == protocol.TypeSchema || m.Type == protocol.TypeTelemetry {
			continue
		}
		reason, text, err := g.hear(m)
		if err != nil {
			k.metrics.badBody.Inc()
		}
		for rows[next].kind != m.Type || rows[next].first != m.Seq || rows[next].epoch != m.Epoch {
			next++
		}
		if rows[next].reason == "" {
			rows[next].reason, rows[next].text = reason, text
		}
	}
	g.prior, g.entry = "", nil // a bundle may be large
	k.mu.Unlock()
	for _, r := range rows {
		k.number(r)
	}
	k.batch.dirty[g] = true
	k.timeEntry(e)
}

func (k *keeper) timeEntry(e *stream.Entry) {
	if e.ReceivedUs > 0 {
		if e.SentMs > 0 {
			k.metrics.observe(protocol.Received, e.ReceivedUs-e.SentMs*1000)
		}
		k.metrics.observe(protocol.Committed, e.CommittedUs-e.ReceivedUs)
	}
	for _, st := range laterStages {
		if p := k.passing[st]; len(p) < maxPassing && e.Sequence > k.marks[st].Through {
			k.passing[st] = append(p, passing{e.Sequence, e.CommittedUs})
		}
	}
}

func (k *keeper) number(r *row) {
	r.id = k.pos.NextID
	k.pos.NextID += int64(r.count)
	k.batch.rows = append(k.batch.rows, r)
	k.metrics.messages.Add(float64(r.count))
}

// gateway returns the state of a gateway, made if it is new.
func (k *keeper) gateway(addr protocol.Gateway) *gateway {
	if g := k.gateways[addr]; g != nil {
		return g
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	site, ok := k.sites[addr.Site]
	if !ok {
		site = int64(len(k.sites) + 1)
		k.sites[addr.Site] = site
	}
	g := &gateway{id: int64(len(k.gateways) + 1), site: site, addr: addr, factsChanged: true}
	k.gateways[addr] = g
	k.batch.dirty[g] = true
	return g
}
