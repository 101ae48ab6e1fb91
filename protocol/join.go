package protocol

import (
	"errors"
	"fmt"
	"math"
)

// Join replaces runs of telemetry messages of one schema, epoch, boot and
// clock by joined messages with longer columns, which compress far better: a
// backlog of one-second messages shrinks to a third. Messages of other types,
// and telemetry that does not decode, stay as they are, in order. The order of
// messages with different schemas among each other may change.
func Join(msgs []*Message, lookup LookupSchema) []*Message {
	j := joiner{lookup: lookup, open: map[SchemaID]*run{}}
	for _, m := range msgs {
		j.add(m)
	}
	j.closeAll()
	return j.out
}

type joiner struct {
	lookup LookupSchema
	open   map[SchemaID]*run
	order  []SchemaID
	out    []*Message
}

// run is telemetry being joined.
type run struct {
	first   *Message
	builder *Builder
	parts   []Part
}

func (j *joiner) add(m *Message) {
	if m.Type != TypeTelemetry || m.Trace != (TraceID{}) || m.RequestID != "" {
		j.out = append(j.out, m)
		return
	}
	t, err := m.Telemetry(j.lookup)
	if err != nil {
		j.out = append(j.out, m) // the receiver says what is wrong with it
		return
	}
	id := t.Schema.id
	r := j.open[id]
	if r == nil {
		r = &run{builder: NewBuilder(t.Schema)}
		j.open[id] = r
		j.order = append(j.order, id)
	}
	if !r.take(m, t) {
		j.close(r)
		r.reset()
		if !r.take(m, t) {
			j.out = append(j.out, m) // cannot be: an empty run takes any message
		}
	}
}

// take joins m to the run; false if it does not fit.
func (r *run) take(m *Message, t *Telemetry) bool {
	if r.first != nil && !r.continues(m) || r.add(t, 0, t.Scans, m.parts(t.Scans)) != nil {
		return false
	}
	if r.first == nil {
		r.first = m
	}
	return true
}

// add puts scans of t and the parts that they are behind the others. ErrFull
// has changed nothing.
func (r *run) add(t *Telemetry, from, to int, parts []Part) error {
	size := sizeOfParts(r.parts, parts)
	r.builder.size += size
	if err := r.builder.AddTelemetry(t, from, to); err != nil {
		r.builder.size -= size
		return err
	}
	r.parts = append(r.parts, parts...)
	return nil
}

func (r *run) reset() {
	r.first, r.parts = nil, nil
	r.builder.Reset()
}

func (r *run) continues(m *Message) bool {
	last := r.parts[len(r.parts)-1].Seq
	return m.Epoch == r.first.Epoch && m.Boot == r.first.Boot && m.Clock == r.first.Clock && m.Seq > last && m.Seq-last <= math.MaxInt64
}

// sizeOfParts returns what further parts take in the encoding.
func sizeOfParts(before, more []Part) (n int) {
	prev := more[0]
	if len(before) > 0 {
		prev = before[len(before)-1]
	}
	for _, p := range more {
		n += headSize(int64(p.Seq-prev.Seq)) + headSize(p.Time-prev.Time) + headSize(int64(p.Mono-prev.Mono)) + headSize(int64(p.Scans))
		prev = p
	}
	return n
}

// parts returns m's parts; a message that was not joined is one.
func (m *Message) parts(scans int) []Part {
	if len(m.Parts) > 0 {
		return m.Parts
	}
	return []Part{{m.Seq, m.Time, m.Mono, scans}}
}

func (j *joiner) close(r *run) {
	if r.first == nil {
		return
	}
	if len(r.parts) == r.first.Count() {
		j.out = append(j.out, r.first)
		return
	}
	m, err := r.message(r.first)
	if err != nil {
		panic(fmt.Sprintf("protocol: what was decoded does not encode: %v", err)) // the builder keeps the limits
	}
	j.out = append(j.out, m)
}

// message returns the run as one message that is otherwise like m.
func (r *run) message(m *Message) (*Message, error) {
	out := *m
	first := r.parts[0]
	out.Seq, out.Time, out.Mono, out.Parts = first.Seq, first.Time, first.Mono, r.parts
	if len(r.parts) == 1 {
		out.Parts = nil
	}
	var err error
	out.Body, err = r.builder.Body(out.Time)
	return &out, err
}

func (j *joiner) closeAll() {
	for _, id := range j.order {
		j.close(j.open[id])
	}
}

// Without returns m without the parts whose seqs are in have: m itself if none
// is, nothing if all are. It is more than one message if what is left does not
// fit one any more, since long runs have been cut up.
func (m *Message) Without(have Set, lookup LookupSchema) ([]*Message, error) {
	keep, all := 0, m.parts(0)
	for _, p := range all {
		if !have.Contains(p.Seq) {
			keep++
		}
	}
	switch keep {
	case len(all):
		return []*Message{m}, nil
	case 0:
		return nil, nil
	}
	t, err := m.Telemetry(lookup)
	if err != nil {
		return nil, err
	}
	return m.trim(t, have)
}

func (m *Message) trim(t *Telemetry, have Set) (out []*Message, err error) {
	r := run{builder: NewBuilder(t.Schema)}
	flush := func() error {
		left, err := r.message(m)
		out = append(out, left)
		r.reset()
		return err
	}
	from := 0
	for _, p := range m.Parts {
		to := from + p.Scans
		if !have.Contains(p.Seq) {
			err := r.add(t, from, to, []Part{p})
			if errors.Is(err, ErrFull) {
				if err = flush(); err == nil {
					err = r.add(t, from, to, []Part{p})
				}
			}
			if err != nil {
				return nil, err
			}
		}
		from = to
	}
	return out, flush()
}
