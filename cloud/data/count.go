package data

import (
	"context"
	"fmt"
	"math"

	"tidemark/cloud/data/chunk"
	"tidemark/protocol"
)

// hourBounds returns the first and the last millisecond of an hour.
func hourBounds(hour int64) (first, last int64) {
	if hour <= math.MinInt64/hourMs {
		return math.MinInt64, (hour+1)*hourMs - 1
	}
	first = hour * hourMs
	if first > math.MaxInt64-hourMs {
		return first, math.MaxInt64
	}
	return first, first + hourMs - 1
}

// countIn counts the readings of b from from to to, not included; to at the
// end of time is included.
func countIn(b *chunk.Block, from, to int64) (n, bad int64) {
	for i, t := range b.Times {
		if t >= from && (t < to || to == math.MaxInt64) {
			n++
			if len(b.Marks) > 0 {
				if q, _ := b.Quality(i); q >= protocol.Bad {
					bad++
				}
			}
		}
	}
	return n, bad
}

// countEdge counts the readings of one hour in the range, chunk by chunk.
func (v *view) countEdge(ctx context.Context, e edge, from, to int64) (n, bad int64, err error) {
	db, err := e.part.conn()
	if err != nil {
		return 0, 0, v.s.queryFailed(e.part, err)
	}
	lo, hi := hourBounds(e.key.hour)
	for _, id := range v.s.catalog.seriesOf(e.key.gateway) {
		rows, err := db.QueryContext(ctx, `SELECT t0, t1, n, bad, boot, body FROM chunk WHERE series=? AND t0>=? AND t0<=? AND pos<=?`, id, lo, hi, int64(v.flushed))
		if err != nil {
			return 0, 0, v.s.queryFailed(e.part, fmt.Errorf("data: read %s: %w", e.part.path, err))
		}
		for rows.Next() && err == nil {
			var t0, t1, cn, cbad, boot int64
			var body []byte
			if err = rows.Scan(&t0, &t1, &cn, &cbad, &boot, &body); err != nil {
				break
			}
			if boot != 0 && v.moved[bootKey{e.key.gateway, uint64(boot)}] || t1 < from || t0 >= to {
				continue
			}
			if t0 < from || t1 >= to {
				var b chunk.Block
				if b, err = chunk.Decode(body); err == nil {
					cn, cbad = countIn(&b, from, to)
				}
			}
			n, bad = n+cn, bad+cbad
		}
		if err == nil {
			err = rows.Err()
		}
		rows.Close()
		if err != nil {
			return 0, 0, v.s.queryFailed(e.part, fmt.Errorf("data: read %s: %w", e.part.path, err))
		}
	}
	return n, bad, nil
}
