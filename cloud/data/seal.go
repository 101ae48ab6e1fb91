package data

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/data/chunk"
	"tidemark/cloud/data/lake"
	"tidemark/protocol"
)

// sealKey is what is sealed at a time: the hour of a site, in one file.
type sealKey struct {
	part *partition
	site string
	hour int64
}

// sealDue seals the hours that are over and quiet.
func (s *Service) sealDue(ctx context.Context, now time.Time) {
	for _, k := range s.due(now) {
		if ctx.Err() != nil {
			return
		}
		err := s.seal(ctx, k)
		if err == nil || ctx.Err() != nil || errors.Is(err, errGone) {
			continue
		}
		s.metrics.sealFailed.Inc()
		s.cfg.Log.Error("an hour cannot be sealed; it is tried again", "site", k.site, "file", k.part.path,
			"hour", time.UnixMilli(k.hour*hourMs).UTC().Format(time.RFC3339), "err", err)
		if damaged(err) {
			k.part.suspect.Store(true)
			s.setSuspectsAside()
		}
	}
}

func (s *Service) due(now time.Time) []sealKey {
	newest := map[sealKey]int64{}
	for _, p := range s.parts.all() {
		if p.name == unplacedName {
			continue
		}
		if err := s.loadPartition(p); err != nil {
			s.cfg.Log.Warn("a file of readings cannot be read; it is tried again", "file", p.path, "err", err)
			continue
		}
		p.mu.Lock()
		for k, h := range p.hours {
			_, last := hourBounds(k.hour)
			if h.live > 0 && !p.ahead && last < now.Add(-s.cfg.SealAfter).UnixMilli() {
				if g := s.catalog.gatewayByID(k.gateway); g != nil {
					key := sealKey{p, g.addr.Site, k.hour}
					newest[key] = max(newest[key], h.touched)
				}
			}
		}
		p.mu.Unlock()
	}
	var out []sealKey
	for k, touched := range newest {
		if touched <= now.Add(-s.cfg.SealQuiet).UnixMilli() {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b sealKey) int { return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.site, b.site)) })
	return out
}

// sealing is an hour being sealed.
type sealing struct {
	s       *Service
	key     sealKey
	view    *view
	part    *lake.Part
	rows    []lake.Row
	values  []cell
	replace []replacement
	rollups []rollupRow
	counted map[int64]int64 // readings by gateway
	enc     chunk.Encoder
}

// cell is what the value of a lake row points to.
type cell struct {
	f float64
	i int64
	b bool
	s string
}

// replacement is chunks of a series that one merged chunk replaces.
type replacement struct {
	series  *series
	old     []chunkKey
	damaged []chunkKey // they stay, and are not met again
	merged  []mergedChunk
}

type chunkKey struct{ t0, pos, k int64 }

type mergedChunk struct {
	t0, t1, n, bad, pos int64
	body                []byte
}

type rollupRow struct {
	series int64
	width  int64
	agg    aggregate
}

// seal writes the readings of an hour that are not in the lake yet as a part of
// it, then the roll-ups of the whole hour, and then, in one transaction of the
// hour's file, merges their chunks and records the part. A crash before that
// transaction has the same part written again.
func (s *Service) seal(ctx context.Context, k sealKey) error {
	sel, _ := s.catalog.choose(k.site, "", nil)
	lo, hi := hourBounds(k.hour)
	file, err := k.part.nextPart(ctx, k)
	if err != nil {
		return err
	}
	path := filepath.Join(s.cfg.Dir, "lake", filepath.FromSlash(file))
	w := &sealing{s: s, key: k, counted: map[int64]int64{}}
	if w.view, err = s.look(func() []*series { return sel }, lo, hi+1); err != nil {
		return err
	}
	w.part, err = lake.Create(path)
	if err == nil {
		err = w.gather(ctx, sel)
	}
	w.view.release()
	if err != nil {
		if w.part != nil {
			w.part.Abort()
		}
		return err
	}
	if len(w.replace) == 0 {
		w.part.Abort()
		return nil
	}
	rows, size, err := w.part.Commit()
	if err != nil {
		return err
	}
	if err := s.rollups.write(monthOf(lo), w.rollups); err != nil {
		return err
	}
	if err := w.commit(file, rows, size); err != nil {
		return err
	}
	s.metrics.sealed.Add(float64(rows))
	s.announce(contract.LakeSealed{Site: k.site, HourMs: lo, File: "lake/" + file, Readings: rows, Bytes: size})
	return nil
}

func (s *Service) announce(n contract.LakeSealed) {
	data, err := json.Marshal(n)
	if err == nil {
		err = s.conn.Publish(contract.SubjectSealed+n.Site, data)
	}
	if err != nil {
		s.cfg.Log.Warn("that an hour was sealed cannot be published", "site", n.Site, "err", err)
	}
}

// nextPart returns the name of the next part of an hour. It holds when the file
// was made, so that a file that takes the place of another never writes over
// the parts of that one.
func (p *partition) nextPart(ctx context.Context, k sealKey) (string, error) {
	db, err := p.conn()
	if err != nil {
		return "", err
	}
	var created, n int64
	err = db.QueryRowContext(ctx, `SELECT v, (SELECT count(*) FROM part WHERE site=? AND hour=?) FROM meta WHERE k='created'`, k.site, k.hour).Scan(&created, &n)
	if err != nil {
		return "", fmt.Errorf("data: read %s: %w", p.path, err)
	}
	lo, _ := hourBounds(k.hour)
	at := time.UnixMilli(lo).UTC()
	return fmt.Sprintf("site=%s/day=%s/hour-%02d-%x-%d.parquet", k.site, at.Format(time.DateOnly), at.Hour(), created, n), nil
}

// gather reads every series' chunks, writes the new readings to the part, and
// prepares what replaces the chunks.
func (w *sealing) gather(ctx context.Context, sel []*series) error {
	for _, ser := range sel {
		if !w.key.part.has(hourKey{ser.gateway.id, w.key.hour}) {
			continue
		}
		if err := w.gatherSeries(ctx, ser); err != nil {
			return err
		}
	}
	return w.flushRows()
}

func (w *sealing) gatherSeries(ctx context.Context, ser *series) error {
	lo, hi := hourBounds(w.key.hour)
	r := replacement{series: ser}
	fresh, sealed, pos, err := w.chunksOf(ctx, ser, lo, hi, &r)
	if err != nil || len(fresh) == 0 {
		if len(r.damaged) > 0 {
			w.replace = append(w.replace, r)
		}
		return err
	}
	merged := chunk.Merge(fresh)
	for i := range merged {
		b := &merged[i]
		t0, t1 := b.Bounds()
		r.merged = append(r.merged, mergedChunk{t0, t1, int64(b.Len()), int64(b.Bad()), pos, slices.Clone(w.enc.Encode(b))})
		w.counted[ser.gateway.id] += int64(b.Len())
		if err := w.writeRows(ser, b); err != nil {
			return err
		}
	}
	w.replace = append(w.replace, r)
	all := append(sealed, merged...)
	for _, p := range w.view.parts {
		if p != w.key.part && p.name != unplacedName && p.has(hourKey{ser.gateway.id, w.key.hour}) {
			if all, err = w.view.chunks(ctx, p, ser, w.key.hour, all, lo, hi+1); err != nil {
				return err
			}
		}
	}
	mins := minutes(w.key.hour, all)
	for i := range mins {
		w.rollups = append(w.rollups, rollupRow{ser.id, minuteMs, mins[i]})
	}
	for _, h := range whole(w.key.hour, mins) {
		w.rollups = append(w.rollups, rollupRow{ser.id, hourMs, h})
	}
	return nil
}

// chunksOf returns a series' chunks of the hour, those not sealed and those
// sealed, and the newest position of the former.
func (w *sealing) chunksOf(ctx context.Context, ser *series, lo, hi int64, r *replacement) (fresh, sealed []chunk.Block, pos int64, err error) {
	p := w.key.part
	db, err := p.conn()
	if err != nil {
		return nil, nil, 0, err
	}
	rows, err := db.QueryContext(ctx, `SELECT t0, pos, k, level, n, body FROM chunk WHERE series=? AND t0>=? AND t0<=? AND pos<=? AND level<2 ORDER BY pos, k`, ser.id, lo, hi, int64(w.view.flushed))
	if err != nil {
		return nil, nil, 0, fmt.Errorf("data: read %s: %w", p.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var k chunkKey
		var level, n int64
		var body []byte
		if err := rows.Scan(&k.t0, &k.pos, &k.k, &level, &n, &body); err != nil {
			return nil, nil, 0, fmt.Errorf("data: read %s: %w", p.path, err)
		}
		b, err := chunk.Decode(body)
		if err != nil {
			w.s.cfg.Log.Error("a chunk is damaged; it is left out of the lake and of roll-ups", "file", p.path, "point", ser.point, "readings", n, "err", err)
			if r.damaged = append(r.damaged, k); level == 0 {
				w.counted[ser.gateway.id] += n
			}
			continue
		}
		if level > 0 {
			sealed = append(sealed, b)
			continue
		}
		fresh, pos = append(fresh, b), max(pos, k.pos)
		r.old = append(r.old, k)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, 0, fmt.Errorf("data: read %s: %w", p.path, err)
	}
	return fresh, sealed, pos, nil
}

// rowBatch is how many rows are handed to Parquet at a time.
const rowBatch = 4096

func (w *sealing) writeRows(ser *series, b *chunk.Block) error {
	device, point, _ := strings.Cut(ser.point, ".")
	a := ser.gateway.addr
	if w.rows == nil {
		w.rows, w.values = make([]lake.Row, 0, rowBatch), make([]cell, rowBatch)
	}
	for i, t := range b.Times {
		if len(w.rows) == rowBatch {
			if err := w.flushRows(); err != nil {
				return err
			}
		}
		rd := b.Reading(i)
		row := lake.Row{Site: a.Site, Gateway: a.Name, Device: device, Point: point, Unit: ser.unit, Time: t, RawTime: t + b.AuxOf(i),
			Quality: rd.Quality.String(), Reason: rd.Reason}
		if c := &w.values[len(w.rows)]; rd.Quality < protocol.Bad {
			switch rd.Value.Kind() {
			case protocol.Float:
				c.f, row.Float = rd.Value.Float(), &c.f
			case protocol.Int:
				c.i, row.Int = rd.Value.Int(), &c.i
			case protocol.Bool:
				c.b, row.Bool = rd.Value.Bool(), &c.b
			case protocol.Text:
				c.s, row.Text = rd.Value.Text(), &c.s
			}
		}
		w.rows = append(w.rows, row)
	}
	return nil
}

func (w *sealing) flushRows() error {
	err := w.part.Write(w.rows)
	w.rows = w.rows[:0]
	return err
}

// mergedK is the first k of merged chunks, above any that a flush gives.
const mergedK = 1 << 40

func (w *sealing) commit(file string, rows, size int64) error {
	s, p := w.s, w.key.part
	s.layout.Lock()
	defer s.layout.Unlock()
	if s.parts.get(p.name) != p {
		return errGone
	}
	db, err := p.conn()
	if err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return fmt.Errorf("data: write %s: %w", p.path, err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	err = w.swapChunks(tx)
	for gw, n := range w.counted {
		if err == nil {
			_, err = tx.Exec(`UPDATE hours SET live=live-? WHERE gateway=? AND hour=?`, n, gw, w.key.hour)
		}
	}
	if err == nil {
		_, err = tx.Exec(`INSERT INTO part VALUES(?,?,?,?,?,?)`, file, w.key.site, w.key.hour, rows, size, int64(w.view.flushed))
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("data: write %s: %w", p.path, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for gw, n := range w.counted {
		if h := p.hours[hourKey{gw, w.key.hour}]; h != nil && p.loaded {
			h.live -= n
		}
	}
	return nil
}

func (w *sealing) swapChunks(tx *sql.Tx) error {
	del, err := tx.Prepare(`DELETE FROM chunk WHERE series=? AND t0=? AND pos=? AND k=?`)
	if err != nil {
		return err
	}
	defer del.Close()
	ins, err := tx.Prepare(`INSERT INTO chunk(series, t0, pos, k, t1, n, bad, level, boot, body) VALUES(?,?,?,?,?,?,?,1,0,?)`)
	if err != nil {
		return err
	}
	defer ins.Close()
	for _, r := range w.replace {
		for _, k := range r.old {
			if _, err := del.Exec(r.series.id, k.t0, k.pos, k.k); err != nil {
				return err
			}
		}
		for _, k := range r.damaged {
			if _, err := tx.Exec(`UPDATE chunk SET level=2 WHERE series=? AND t0=? AND pos=? AND k=?`, r.series.id, k.t0, k.pos, k.k); err != nil {
				return err
			}
		}
		for i, m := range r.merged {
			if _, err := ins.Exec(r.series.id, m.t0, m.pos, mergedK+int64(i), m.t1, m.n, m.bad, m.body); err != nil {
				return err
			}
		}
	}
	return nil
}

// write stores roll-ups of an hour. One that was made of more readings stays:
// those have left the hot store since.
func (r *rollups) write(month string, rows []rollupRow) error {
	db, err := r.open(month, true)
	if err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return fmt.Errorf("data: write roll-ups of %s: %w", month, err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	ins, err := tx.Prepare(`INSERT INTO rollup VALUES(?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(width, series, start) DO UPDATE SET
		n=excluded.n, bad=excluded.bad, sum=excluded.sum, min=excluded.min, max=excluded.max, first=excluded.first, last=excluded.last,
		first_time=excluded.first_time, last_time=excluded.last_time WHERE excluded.n+excluded.bad>=n+bad`)
	if err != nil {
		return fmt.Errorf("data: write roll-ups of %s: %w", month, err)
	}
	defer ins.Close()
	for i := range rows {
		a := &rows[i].agg
		if _, err := ins.Exec(rows[i].width, rows[i].series, a.start, a.n, a.bad, a.sum, a.min, a.max, a.first, a.last, a.firstTime, a.lastTime); err != nil {
			return fmt.Errorf("data: write roll-ups of %s: %w", month, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("data: write roll-ups of %s: %w", month, err)
	}
	return nil
}
