package trace

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"tidemark/protocol"
)

// zoneBits: a zone holds the rows whose ids share the bits above these.
const zoneBits = 12

// How often old rows are looked for, and looked for again while there are many.
const (
	retireEvery = 10 * time.Second
	retireSoon  = 50 * time.Millisecond
)

// retireBatch is how many rows are removed in one transaction, so that what
// arrives meanwhile does not wait.
const retireBatch = 2000

// flush writes the batch. A failure, such as a full disk, is tried again until
// it passes: the streams keep what arrives meanwhile.
func (k *keeper) flush(ctx context.Context) error {
	if k.empty() {
		return nil
	}
	failures, since := 0, time.Now()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := k.writeBatch()
		if err == nil {
			break
		}
		if ctx.Err() != nil || ctx.Done() == nil { // at the end there is one attempt: what is not written is read again
			return fmt.Errorf("trace: write the ledger: %w", err)
		}
		if failures++; failures == 1 {
			k.cfg.Log.Error("the ledger cannot be written; it is tried again, and the stream keeps what arrives", "err", err)
		}
		k.metrics.retried.Inc()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	if failures > 0 {
		k.cfg.Log.Info("the ledger is written again", "failures", failures, "dur", time.Since(since))
	}
	for g := range k.batch.dirty {
		g.factsChanged = false
	}
	k.mu.Lock()
	k.Service.pos = k.pos
	k.unwritten = k.unwritten[:0]
	k.mu.Unlock()
	k.metrics.position.Set(float64(k.pos.Device))
	clear(k.batch.dirty)
	k.batch = batch{dirty: k.batch.dirty, rows: k.batch.rows[:0]}
	return nil
}

func (k *keeper) writeBatch() error {
	tx, err := k.store.Write.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	for g := range k.batch.dirty {
		if err := writeGateway(tx, g); err != nil {
			return err
		}
	}
	if err := writeRows(tx, k.batch.rows); err != nil {
		return err
	}
	for _, m := range k.unwritten {
		if _, err := tx.Exec(`INSERT OR IGNORE INTO mark VALUES (?, ?, ?)`, string(m.Stage), m.Through, m.TimeUs); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`UPDATE position SET device = ?, platform = ?, next_id = ?`, k.pos.Device, k.pos.Platform, k.pos.NextID); err != nil {
		return err
	}
	return tx.Commit()
}

func writeGateway(tx *sql.Tx, g *gateway) error {
	if !g.factsChanged {
		_, err := tx.Exec(`UPDATE gateway SET tidemarks = ?, sequence = ?, seen_ms = ? WHERE id = ?`, g.tidemarks, g.sequence, g.seenMs, g.id)
		return err
	}
	facts, err := json.Marshal(&g.facts)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT OR REPLACE INTO gateway VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		g.id, g.site, g.addr.Site, g.addr.Name, g.tidemarks, g.sequence, g.seenMs, string(facts))
	return err
}

func writeRows(tx *sql.Tx, rows []*row) error {
	if len(rows) == 0 {
		return nil
	}
	insert, err := tx.Prepare(`INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	zones := map[int64][2]int64{}
	for _, r := range rows {
		_, err := insert.Exec(r.id, r.count, r.gateway.site, r.gateway.id, int(r.kind), int64(r.epoch), int64(r.first), int64(r.last), r.trace,
			null(r.requestID), null(r.requestCode), string(r.code), null(r.reason), null(r.text), r.timeMin, r.timeMax,
			int64(r.sequence), r.sentMs, r.receivedUs, r.committedUs, r.items)
		if err != nil {
			return err
		}
		z, ok := zones[r.id>>zoneBits]
		if !ok {
			z = [2]int64{r.timeMin, r.timeMax}
		}
		zones[r.id>>zoneBits] = [2]int64{min(z[0], r.timeMin), max(z[1], r.timeMax)}
	}
	for n, z := range zones {
		_, err := tx.Exec(`INSERT INTO zone VALUES (?, ?, ?) ON CONFLICT (n) DO UPDATE SET
			time_min = MIN(time_min, excluded.time_min), time_max = MAX(time_max, excluded.time_max)`, n, z[0], z[1])
		if err != nil {
			return err
		}
	}
	return nil
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// retire removes a batch of what is too old or too much. It returns when to go
// on: soon while there is more, so that what arrives is taken in between.
func (k *keeper) retire() time.Duration {
	n, err := k.store.retire(time.Now().Add(-k.cfg.MaxAge), k.pos.NextID-k.cfg.MaxMessages)
	if err != nil {
		k.metrics.retried.Inc()
		k.cfg.Log.Warn("old rows of the ledger cannot be removed; it is tried again", "err", err)
	}
	if err == nil && n == retireBatch {
		return retireSoon
	}
	return retireEvery
}

// retire removes the oldest rows, up to retireBatch, that were committed
// before a time or are numbered below a limit. It returns how many.
func (st *store) retire(before time.Time, below int64) (int, error) {
	var top, count, sequence sql.NullInt64
	err := st.Write.QueryRow(`SELECT MAX(id), COUNT(*), MAX(sequence) FROM (SELECT id, committed_us, sequence FROM message ORDER BY id LIMIT ?)
		WHERE committed_us < ? OR id < ?`, retireBatch, before.UnixMicro(), below).Scan(&top, &count, &sequence)
	if err != nil || count.Int64 == 0 {
		return 0, err
	}
	tx, err := st.Write.Begin()
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	for _, q := range []struct {
		text string
		arg  int64
	}{
		{`DELETE FROM message WHERE id <= ?`, top.Int64},
		{`DELETE FROM zone WHERE n < ?`, top.Int64 >> zoneBits},
		{`DELETE FROM mark WHERE through < ? AND EXISTS (SELECT 1 FROM mark AS later WHERE later.stage = mark.stage AND later.through > mark.through)`, sequence.Int64},
	} {
		if _, err := tx.Exec(q.text, q.arg); err != nil {
			return 0, err
		}
	}
	return int(count.Int64), tx.Commit()
}

var laterStages = []protocol.Stage{protocol.Ruled, protocol.Stored, protocol.Served}
