package protocol

import "fmt"

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
	if m.Type != TypeTelemetry || m.Trace != (TraceID{}) {
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
	if r != nil && !r.fits(m, t) {
		j.close(r)
		r = nil
	}
	if r == nil {
		if _, known := j.open[id]; !known {
			j.order = append(j.order, id)
		}
		r = &run{first: m, builder: NewBuilder(t.Schema)}
		j.open[id] = r
	}
	if err := r.builder.AddTelemetry(t, 0, t.Scans); err != nil {
		j.out = append(j.out, m) // cannot be: the schemas are the same
		return
	}
	r.parts = append(r.parts, m.parts(t.Scans)...)
}

func (r *run) fits(m *Message, t *Telemetry) bool {
	prev := r.parts[len(r.parts)-1]
	return m.Epoch == r.first.Epoch && m.Boot == r.first.Boot && m.Clock == r.first.Clock && m.Seq > prev.Seq &&
		(r.builder.scans+t.Scans)*len(t.Columns) <= MaxReadings && r.builder.estimate()+len(m.Body) < MaxMessage*3/4
}

// parts returns m's parts; a message that was not joined is one.
func (m *Message) parts(scans int) []Part {
	if len(m.Parts) > 0 {
		return m.Parts
	}
	return []Part{{m.Seq, m.Time, m.Mono, scans}}
}

func (j *joiner) close(r *run) {
	if len(r.parts) == 1 {
		j.out = append(j.out, r.first)
		return
	}
	m := *r.first
	m.Parts = r.parts
	body, err := r.builder.Body(m.Time)
	if err != nil {
		panic(fmt.Sprintf("protocol: what was decoded does not encode: %v", err))
	}
	m.Body = body
	j.out = append(j.out, &m)
}

func (j *joiner) closeAll() {
	for _, id := range j.order {
		j.close(j.open[id])
	}
}

// Without returns m without the parts whose seqs are in have: m itself if none
// is, nil if all are.
func (m *Message) Without(have Set, lookup LookupSchema) (*Message, error) {
	if len(m.Parts) == 0 {
		if have.Contains(m.Seq) {
			return nil, nil
		}
		return m, nil
	}
	keep := 0
	for _, p := range m.Parts {
		if !have.Contains(p.Seq) {
			keep++
		}
	}
	switch keep {
	case len(m.Parts):
		return m, nil
	case 0:
		return nil, nil
	}
	t, err := m.Telemetry(lookup)
	if err != nil {
		return nil, err
	}
	return m.trim(t, have)
}

func (m *Message) trim(t *Telemetry, have Set) (*Message, error) {
	b := NewBuilder(t.Schema)
	out := *m
	out.Parts = nil
	from := 0
	for _, p := range m.Parts {
		to := from + p.Scans
		if !have.Contains(p.Seq) {
			if err := b.AddTelemetry(t, from, to); err != nil {
				return nil, err
			}
			out.Parts = append(out.Parts, p)
		}
		from = to
	}
	first := out.Parts[0]
	out.Seq, out.Time, out.Mono = first.Seq, first.Time, first.Mono
	if len(out.Parts) == 1 {
		out.Parts = nil
	}
	var err error
	out.Body, err = b.Body(out.Time)
	return &out, err
}
