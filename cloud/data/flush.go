package data

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/data/chunk"
	"tidemark/protocol"
)

// run is consecutive readings of a head block that become one row.
type run struct {
	series   *series
	block    *headBlock
	from, to int
}

// written is what a flush added to a partition.
type written struct {
	part  *partition
	hours map[hourKey]hourCount
}

// flusher writes batches until the ETL closes the channel. A flush that fails
// is tried again, so that nothing is left out; readings wait in the stream.
func (s *Service) flusher(ctx context.Context) error {
	defer close(s.finished)
batches:
	for b := range s.flushes {
		start := time.Now()
		wait, failures := 100*time.Millisecond, 0
		for {
			err := s.flush(b)
			if err == nil {
				break
			}
			if failures++; failures == 1 {
				s.cfg.Log.Error("readings cannot be stored; trying again, they are safe in the stream", "dir", s.cfg.Dir, "err", err)
			}
			select {
			case <-ctx.Done():
				if s.flush(b) == nil {
					s.finished <- struct{}{}
					continue batches
				}
				return fmt.Errorf("data: stopped while readings could not be stored: %w; they are in the stream and are stored at the next start", err)
			case <-time.After(wait):
			}
			wait = min(2*wait, 10*time.Second)
		}
		if failures > 0 {
			s.cfg.Log.Info("readings are stored again", "attempt", failures, "dur", time.Since(start))
		}
		s.metrics.flush.Observe(time.Since(start).Seconds())
		s.finished <- struct{}{}
	}
	return nil
}

// flush writes b: new series, then each file, the unplaced readings last, then
// the position of all. It may be called again after an error.
func (s *Service) flush(b *batch) error {
	if len(b.moved) > 0 {
		s.layout.Lock()
		defer s.layout.Unlock()
	}
	if err := s.catalog.saveNew(); err != nil {
		return err
	}
	runs, err := s.cut(b)
	if err != nil {
		return err
	}
	if u := s.parts.get(unplacedName); len(b.moved) > 0 && runs[u] == nil {
		if err := s.loadPartition(u); err != nil {
			return err
		}
		runs[u] = []run{}
	}
	order := make([]*partition, 0, len(runs))
	for p := range runs {
		order = append(order, p)
	}
	slices.SortFunc(order, func(x, y *partition) int { return cmp.Compare(x.name, y.name) }) // "unplaced" follows every digit and "other"
	for _, p := range order {
		err := s.writePartition(p, runs[p], b)
		if err != nil {
			p.forget()
			if damaged(err) {
				s.setAside(p, err)
			}
			return err
		}
	}
	return s.catalog.commit(b)
}

func (s *Service) setAside(p *partition, cause error) {
	s.cfg.Log.Error("a file of readings is damaged", "err", s.parts.setAside(p, cause))
	s.metrics.damaged.Inc()
}

// loadPartition loads p; a damaged one is set aside first.
func (s *Service) loadPartition(p *partition) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := p.load(s.catalog, s.flushed, s.moved)
	if damaged(err) {
		s.setAside(p, err)
		err = p.load(s.catalog, s.flushed, s.moved)
	}
	return err
}

func (s *Service) writePartition(p *partition, runs []run, b *batch) error {
	db, err := p.conn()
	if err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return fmt.Errorf("data: write %s: %w", p.path, err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	w := written{p, map[hourKey]hourCount{}}
	if err := insertRuns(tx, runs, b, w.hours); err != nil {
		return fmt.Errorf("data: write %s: %w", p.path, err)
	}
	if err := addHours(tx, w.hours); err != nil {
		return fmt.Errorf("data: write %s: %w", p.path, err)
	}
	if p.name == unplacedName {
		if err := s.removeMoved(tx, b); err != nil {
			return fmt.Errorf("data: write %s: %w", p.path, err)
		}
	}
	if _, err := tx.Exec(`INSERT OR REPLACE INTO meta VALUES('position', ?)`, int64(b.last)); err != nil {
		return fmt.Errorf("data: write %s: %w", p.path, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("data: write %s: %w", p.path, err)
	}
	p.mu.Lock()
	p.position = b.last
	p.mu.Unlock()
	b.done = append(b.done, w)
	return nil
}

func insertRuns(tx *sql.Tx, runs []run, b *batch, hours map[hourKey]hourCount) error {
	insert, err := tx.Prepare(`INSERT INTO chunk(series, t0, pos, k, t1, n, bad, level, boot, body) VALUES(?,?,?,?,?,?,?,0,?,?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	var enc chunk.Encoder
	k := 0
	for i, r := range runs {
		if i > 0 && runs[i-1].series != r.series {
			k = 0
		}
		block := r.block.Slice(r.from, r.to)
		t0, t1 := block.Bounds()
		n, bad := int64(block.Len()), int64(block.Bad())
		if _, err := insert.Exec(r.series.id, t0, int64(b.last), k, t1, n, bad, int64(r.block.boot), enc.Encode(&block)); err != nil {
			return err
		}
		k++
		key := hourKey{r.series.gateway.id, floorDiv(t0, hourMs)}
		h := hours[key]
		h.n, h.bad, h.live = h.n+n, h.bad+bad, h.live+n
		h.touched = max(h.touched, b.asOfUs/1000)
		hours[key] = h
	}
	return nil
}

func addHours(tx *sql.Tx, hours map[hourKey]hourCount) error {
	for k, h := range hours {
		_, err := tx.Exec(`INSERT INTO hours VALUES(?,?,?,?,?,?) ON CONFLICT(gateway, hour) DO UPDATE SET
			n=n+excluded.n, bad=bad+excluded.bad, live=live+excluded.live, touched=max(touched, excluded.touched)`,
			k.gateway, k.hour, h.n, h.bad, h.live, h.touched)
		if err != nil {
			return err
		}
	}
	return nil
}

// removeMoved removes the readings that this batch has placed.
func (s *Service) removeMoved(tx *sql.Tx, b *batch) error {
	for _, m := range b.moved {
		for _, id := range s.catalog.seriesOf(m.gateway) {
			if _, err := tx.Exec(`DELETE FROM chunk WHERE series=? AND boot=? AND pos<=?`, id, int64(m.boot), int64(b.last)); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`DELETE FROM hours WHERE gateway=?`, m.gateway); err != nil {
			return err
		}
		left := map[hourKey]hourCount{}
		for _, id := range s.catalog.seriesOf(m.gateway) {
			if err := countSeries(tx, id, m.gateway, left); err != nil {
				return err
			}
		}
		if err := addHours(tx, left); err != nil {
			return err
		}
	}
	return nil
}

func countSeries(tx *sql.Tx, id, gateway int64, into map[hourKey]hourCount) error {
	rows, err := tx.Query(`SELECT t0, n, bad FROM chunk WHERE series=?`, id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var t0, n, bad int64
		if err := rows.Scan(&t0, &n, &bad); err != nil {
			return err
		}
		k := hourKey{gateway, floorDiv(t0, hourMs)}
		h := into[k]
		h.n, h.bad, h.live = h.n+n, h.bad+bad, h.live+n
		into[k] = h
	}
	return rows.Err()
}

// forget has position and hours read again before they are used.
func (p *partition) forget() {
	p.mu.Lock()
	p.loaded = false
	p.mu.Unlock()
}

// finish makes a flush that is done the state that queries see.
func (s *Service) finish() {
	s.mu.Lock()
	b := s.flushing
	for _, w := range b.done {
		w.part.apply(w.hours)
	}
	for _, p := range s.parts.all() {
		p.catchUp(b.last, len(b.moved) > 0)
	}
	for _, ser := range b.touched {
		for _, block := range ser.flushing {
			s.recycle(block)
		}
		ser.flushing = nil
	}
	for _, m := range b.moved {
		delete(s.moved, m)
	}
	s.flushing, s.flushed = nil, b.last
	s.mu.Unlock()
	select {
	case <-s.recovered:
	default:
		close(s.recovered) // no batch ends before the position of every file
	}
	s.metrics.position.Set(float64(b.last))
	s.markHop(b)
}

// recycle keeps a block for the next flush, as long as all that are kept are
// no more than one flush.
func (s *Service) recycle(b *headBlock) {
	if size := cap(b.Times); size > 0 && s.freeSize+size <= s.cfg.FlushReadings {
		s.freeSize += size
		b.Reset()
		b.origin, b.boot = b.origin[:0], 0
		s.free = append(s.free, b)
	}
}

// catchUp has a file that was ahead of what was served, or that readings were
// moved out of, counted again.
func (p *partition) catchUp(flushed uint64, moved bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ahead && p.position <= flushed || moved && p.name == unplacedName {
		p.loaded, p.ahead = false, false
	}
}

// apply adds what a flush wrote to the counts.
func (p *partition) apply(hours map[hourKey]hourCount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.loaded {
		return
	}
	for k, add := range hours {
		h := p.hour(k)
		h.n, h.bad, h.live = h.n+add.n, h.bad+add.bad, h.live+add.live
		h.touched = max(h.touched, add.touched)
	}
}

func (s *Service) markHop(b *batch) {
	mark, err := json.Marshal(contract.HopMark{Stage: protocol.Stored, Through: b.last, TimeUs: time.Now().UnixMicro()})
	if err == nil {
		err = s.conn.Publish(contract.SubjectHop+string(protocol.Stored), mark)
	}
	if err != nil {
		s.cfg.Log.Warn("the hop mark of what was stored cannot be published", "err", err)
	}
}
