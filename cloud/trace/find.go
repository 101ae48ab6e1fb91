package trace

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// maxTraceRows is how many rows of one trace are shown, newest first.
const maxTraceRows = 200

// maxSpanRows bounds the search for the row that holds a seq: rows whose first
// seq is below it but that do not reach it.
const maxSpanRows = 100_000

func parseTraceID(text string) (protocol.TraceID, error) {
	id, err := protocol.ParseTraceID(strings.TrimSpace(strings.ToLower(text)))
	if err != nil || id == (protocol.TraceID{}) {
		return id, bad("bad_trace_id", "%.60q is not a trace id: 32 hexadecimal digits, not all 0.", text)
	}
	return id, nil
}

// found is a message in a row.
type found struct {
	*stored
	index int
}

// asked returns which of the seqs that the message stands for an id names.
func (f found) asked(id protocol.TraceID) uint64 {
	seqs := f.items[f.index].seqs
	if _, seq := id.Origin(); seqs.Contains(seq) {
		return seq
	}
	return seqs.Min()
}

// find returns the messages of a trace, newest first: those that carry its id,
// and the one whose epoch and seq it is. A joined message is found by each of
// its seqs.
func (s *Service) find(ctx context.Context, id protocol.TraceID) ([]found, error) {
	var out []found
	err := s.rows(ctx, func(r *stored) {
		for i := r.count - 1; i >= 0; i-- {
			out = append(out, found{r, i})
		}
	}, "INDEXED BY message_trace WHERE trace = ? AND trace IS NOT NULL ORDER BY id DESC LIMIT ?", id[:], maxTraceRows)
	if err != nil || len(out) > 0 {
		return out, err
	}
	epoch, seq := id.Origin()
	return s.findSeq(ctx, epoch, seq)
}

// findSeq looks for the row that holds a seq, going down from the one that
// begins nearest below it: rows of a backlog may lie inside each other's spans,
// so it looks at a few, and only then at many.
func (s *Service) findSeq(ctx context.Context, epoch, seq uint64) ([]found, error) {
	for _, span := range []int{16, maxSpanRows} {
		ids, err := s.candidates(ctx, epoch, seq, span)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			var out []found
			err := s.rows(ctx, func(r *stored) {
				for i := range r.items {
					if r.items[i].seqs.Contains(seq) {
						out = append(out, found{r, i})
					}
				}
			}, "WHERE id = ?", id)
			if err != nil || len(out) > 0 {
				return out, err
			}
		}
	}
	return nil, nil
}

// candidates returns the ids of the rows whose span holds a seq, out of so many
// that begin nearest below it.
func (s *Service) candidates(ctx context.Context, epoch, seq uint64, span int) ([]int64, error) {
	rows, err := s.store.Read.QueryContext(ctx, `SELECT id FROM (SELECT id, last FROM message INDEXED BY message_seq
		WHERE epoch = ? AND first <= ? ORDER BY first DESC LIMIT ?) WHERE last >= ?`, int64(epoch), int64(seq), span, int64(seq))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

func (s *Service) rows(ctx context.Context, each func(*stored), rest string, args ...any) error {
	rows, err := s.store.Read.QueryContext(ctx, "SELECT "+columns+" FROM message m "+rest, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return err
		}
		each(r)
	}
	return rows.Err()
}

// markOf returns the first mark of a stage that covers a sequence: when the
// entry passed the stage.
func (s *Service) markOf(ctx context.Context, st protocol.Stage, sequence uint64) (timeUs int64, err error) {
	s.mu.RLock() // before the file is read, since marks go from here to there
	for _, m := range s.unwritten {
		if m.Stage == st && m.Through >= sequence {
			timeUs = m.TimeUs
			break
		}
	}
	s.mu.RUnlock()
	var earlier int64
	err = s.store.Read.QueryRowContext(ctx, `SELECT time_us FROM mark WHERE stage = ? AND through >= ? ORDER BY through LIMIT 1`, string(st), int64(sequence)).Scan(&earlier)
	switch {
	case err == nil:
		return earlier, nil
	case errors.Is(err, sql.ErrNoRows):
		return timeUs, nil
	}
	return 0, err
}

// queryTrace answers [contract.ReqTrace].
func (s *Service) queryTrace(ctx context.Context, q *contract.TraceQuery) (*contract.TraceResult, error) {
	id, err := parseTraceID(q.TraceID)
	if err != nil {
		return nil, err
	}
	messages, err := s.find(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &contract.TraceResult{TraceID: id.String(), Messages: []contract.MessageRow{}, Hops: []contract.Hop{}}
	if len(messages) == 0 {
		out.Where, err = s.whereMissing(id)
		return out, err
	}
	for _, f := range messages {
		out.Messages = append(out.Messages, f.message(f.index))
	}
	if m := messages[0]; m.row.Sequence == 0 {
		out.Hops = letterHops(m)
		out.Where = fmt.Sprintf("rejected: %s; it is in the dead letters, and the gateway was told", sentence(m.row.Reason, m.row.Text))
	} else if err = s.hops(ctx, m, m.asked(id), out); err != nil {
		return nil, &contract.Problem{Status: http.StatusInternalServerError, Reason: "ledger", Text: "The hops could not be read from the ledger: " + err.Error()}
	}
	return out, nil
}

// sentence joins a reason and its text.
func sentence(reason, text string) string {
	switch {
	case text == "":
		return reason
	case reason == "":
		return text
	}
	return reason + ": " + text
}
