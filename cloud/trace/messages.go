package trace

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// maxLook bounds how many rows a query reads; a page that ends there has a
// cursor to go on with, so a rare thing in a long ledger is found in steps.
const maxLook = 200_000

// queryMessages answers [contract.ReqMessages]: newest first in the order in
// which the ledger took the messages. FromMs and ToMs (not included) are by the
// gateway's clock. A page may be short or empty and have a Next all the same.
func (s *Service) queryMessages(ctx context.Context, q *contract.MessagesQuery) (*contract.MessagesResult, error) {
	if q.TraceID != "" {
		return s.messagesOfTrace(ctx, q)
	}
	f, err := s.filter(q)
	if err != nil {
		return nil, err
	}
	out := &contract.MessagesResult{Messages: []contract.MessageRow{}}
	if f.nothing {
		return out, nil
	}
	ranges, err := s.ranges(ctx, f)
	if err != nil {
		return nil, err
	}
	look := maxLook
	for _, r := range ranges {
		full, err := s.page(ctx, f, r, &look, out)
		if err != nil || full {
			return out, err
		}
	}
	return out, nil
}

// filter is a query made ready for the tables.
type filter struct {
	q       *contract.MessagesQuery
	limit   int
	below   int64 // ids from here on are on pages before
	nothing bool  // the site or gateway is not known
	index   string
	where   []string
	args    []any
}

func (s *Service) filter(q *contract.MessagesQuery) (*filter, error) {
	f := &filter{q: q, limit: q.Limit}
	if f.limit <= 0 {
		f.limit = defaultLimit
	}
	f.limit = min(f.limit, maxLimit)
	s.mu.RLock()
	defer s.mu.RUnlock()
	f.below = s.pos.NextID
	if q.Cursor != "" {
		n, err := strconv.ParseInt(q.Cursor, 36, 64)
		if err != nil || n < 1 {
			return nil, bad("bad_cursor", "%.40q is not a cursor that this service gave; leave it out for the first page.", q.Cursor)
		}
		f.below = min(f.below, n)
	}
	if q.Gateway != "" && q.Site == "" {
		return nil, bad("site_missing", "The gateway %.70q is asked for without its site.", q.Gateway)
	}
	if err := f.byTypeAndCode(); err != nil {
		return nil, err
	}
	switch {
	case q.Gateway != "":
		g := s.gateways[protocol.Gateway{Site: q.Site, Name: q.Gateway}]
		if f.nothing = g == nil; !f.nothing {
			f.by("gateway", g.id)
		}
	case q.Site != "":
		id, ok := s.sites[q.Site]
		f.nothing = !ok
		f.by("site", id)
	}
	if f.index == "" {
		f.index = "NOT INDEXED"
	}
	return f, nil
}

// byTypeAndCode names types and codes by literals, since only so can the
// partial indexes be used.
func (f *filter) byTypeAndCode() error {
	if f.q.Type != "" {
		t, ok := protocol.ParseType(f.q.Type)
		if !ok {
			return bad("bad_type", "%.40q is not a type of messages; the types are telemetry, heartbeat, dropped, clock, outage, event and reply.", f.q.Type)
		}
		f.where = append(f.where, fmt.Sprintf("type = %d", t))
		if t != protocol.TypeTelemetry {
			f.where = append(f.where, "type <> 1")
			f.index = "INDEXED BY message_type"
		}
	}
	if c := protocol.ResponseCode(f.q.ResponseCode); c != "" {
		if !c.Valid() {
			return bad("bad_response_code", "%.40q is not a response code; they are ok, failed, ignored, rejected and timeout.", f.q.ResponseCode)
		}
		f.where = append(f.where, fmt.Sprintf("code = '%s'", c))
		if c != protocol.OK {
			f.where = append(f.where, "code <> 'ok'")
			f.index = "INDEXED BY message_code"
		}
	}
	return nil
}

// by filters by the column site or gateway, with the index that fits beside
// what else is asked for.
func (f *filter) by(column string, id int64) {
	f.where, f.args = append(f.where, column+" = ?"), append(f.args, id)
	switch f.index {
	case "":
		f.index = "INDEXED BY message_" + column
	case "INDEXED BY message_type":
		f.index = "INDEXED BY message_" + column + "_type"
	}
}

// idRange is ids from low up to high, which is not included.
type idRange struct{ low, high int64 }

// ranges returns where the answer can be, newest first: all ids, or those of
// the zones with messages of the time that is asked for.
func (s *Service) ranges(ctx context.Context, f *filter) ([]idRange, error) {
	if f.q.FromMs == 0 && f.q.ToMs == 0 {
		return []idRange{{0, f.below}}, nil
	}
	to := f.to()
	rows, err := s.store.Read.QueryContext(ctx, `SELECT n FROM zone WHERE time_max >= ? AND time_min < ? AND n <= ? ORDER BY n DESC`, f.q.FromMs, to, f.below>>zoneBits)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []idRange
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		low, high := n<<zoneBits, min((n+1)<<zoneBits, f.below)
		if k := len(out); k > 0 && out[k-1].low == high {
			out[k-1].low = low
		} else {
			out = append(out, idRange{low, high})
		}
	}
	return out, rows.Err()
}

func (f *filter) to() int64 {
	if f.q.ToMs == 0 {
		return 1<<63 - 1
	}
	return f.q.ToMs
}

const columns = `id, count, (SELECT site FROM gateway g WHERE g.id = m.gateway), (SELECT name FROM gateway g WHERE g.id = m.gateway),
	type, epoch, trace, request_id, request_code, code, reason, text, sequence, sent_ms, received_us, committed_us, items`

// stored is a row of the ledger as it is read.
type stored struct {
	id          int64
	count       int
	row         contract.MessageRow // what its messages share
	kind        protocol.Type
	epoch       uint64
	trace       []byte
	sentMs      int64
	receivedUs  int64
	committedUs int64
	items       []item
}

func scan(rows *sql.Rows) (*stored, error) {
	var r stored
	var epoch int64
	var items []byte
	var id, code, reason, text sql.NullString
	m := &r.row
	err := rows.Scan(&r.id, &r.count, &m.Site, &m.Gateway, &r.kind, &epoch, &r.trace, &id, &code, &m.ResponseCode, &reason, &text,
		&m.Sequence, &r.sentMs, &r.receivedUs, &r.committedUs, &items)
	if err != nil {
		return nil, err
	}
	r.epoch = uint64(epoch)
	if r.kind != unknownType {
		m.Type = r.kind.String()
	}
	if r.epoch != 0 {
		m.Epoch = protocol.EpochString(r.epoch)
	}
	m.RequestID, m.RequestCode, m.Reason, m.Text, m.CommittedMs = id.String, code.String, reason.String, text.String, r.committedUs/1000
	r.items, err = parseItems(items, r.count)
	return &r, err
}

// message returns the i-th message of the row.
func (r *stored) message(i int) contract.MessageRow {
	it, m := &r.items[i], r.row
	m.Seqs, m.TimeMs, m.Bytes, m.Readings = it.seqs.String(), it.timeMs, it.bytes, it.readings
	switch {
	case r.trace != nil:
		m.TraceID = protocol.TraceID(r.trace).String()
	case r.epoch != 0 && !it.seqs.Empty():
		m.TraceID = protocol.TraceIDOf(r.epoch, it.seqs.Min()).String()
	}
	return m
}

// page adds to out what of a range of ids fits. It reports whether the answer
// is complete: the page is full, or look rows have been read.
func (s *Service) page(ctx context.Context, f *filter, r idRange, look *int, out *contract.MessagesResult) (bool, error) {
	where := append(slices.Clone(f.where), "id >= ?", "id < ?")
	args := append(slices.Clone(f.args), r.low, r.high)
	from, to := f.q.FromMs, f.to()
	if f.q.FromMs != 0 || f.q.ToMs != 0 {
		where, args = append(where, "time_max >= ?", "time_min < ?"), append(args, from, to)
	} else {
		from = -1 << 63
	}
	rows, err := s.store.Read.QueryContext(ctx, "SELECT "+columns+" FROM message m "+f.index+" WHERE "+strings.Join(where, " AND ")+" ORDER BY id DESC", args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return false, err
		}
		for i := row.count - 1; i >= 0; i-- {
			n := row.id + int64(i)
			if t := row.items[i].timeMs; n >= f.below || t < from || t >= to {
				continue
			}
			if len(out.Messages) == f.limit {
				out.Next = strconv.FormatInt(n+1, 36)
				return true, nil
			}
			out.Messages = append(out.Messages, row.message(i))
		}
		if *look--; *look == 0 {
			out.Next = strconv.FormatInt(row.id, 36)
			return true, nil
		}
	}
	return false, rows.Err()
}

// messagesOfTrace answers a query for a trace id: it has few messages, so they
// make one page.
func (s *Service) messagesOfTrace(ctx context.Context, q *contract.MessagesQuery) (*contract.MessagesResult, error) {
	id, err := parseTraceID(q.TraceID)
	if err != nil {
		return nil, err
	}
	found, err := s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &contract.MessagesResult{Messages: []contract.MessageRow{}}
	for _, f := range found {
		m := f.message(f.index)
		if (q.Site == "" || m.Site == q.Site) && (q.Gateway == "" || m.Gateway == q.Gateway) && (q.Type == "" || m.Type == q.Type) &&
			(q.ResponseCode == "" || m.ResponseCode == q.ResponseCode) && (q.FromMs == 0 || m.TimeMs >= q.FromMs) && (q.ToMs == 0 || m.TimeMs < q.ToMs) {
			out.Messages = append(out.Messages, m)
		}
	}
	return out, nil
}
