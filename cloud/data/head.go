package data

import (
	"tidemark/cloud/data/chunk"
	"tidemark/protocol"
)

func partsOf(m *protocol.Message, scans int) []protocol.Part {
	if len(m.Parts) > 0 {
		return m.Parts
	}
	return []protocol.Part{{Seq: m.Seq, Time: m.Time, Mono: m.Mono, Scans: scans}}
}

func (s *Service) appendScans(routes []route, t *protocol.Telemetry, span chunk.Span, boot uint64, from origin) {
	for i := range t.Columns {
		span.Group = routes[i].group
		col := &t.Columns[i]
		first, end := span.First, span.First+span.Count
		for _, m := range col.Marks {
			if m.Quality != protocol.NotRead || m.First+m.Count <= first || m.First >= end {
				continue
			}
			s.appendSpan(routes[i].series, t, col, spanOf(span, first, m.First), boot, from)
			first = m.First + m.Count
		}
		s.appendSpan(routes[i].series, t, col, spanOf(span, first, end), boot, from)
	}
}

func spanOf(s chunk.Span, first, end int) chunk.Span {
	s.First, s.Count = first, end-first
	return s
}

func (s *Service) appendSpan(ser *series, t *protocol.Telemetry, col *protocol.Column, span chunk.Span, boot uint64, from origin) {
	for span.Count > 0 {
		part := span
		part.Count = min(span.Count, chunk.MaxReadings)
		var b *headBlock
		if k := len(ser.head); k > 0 {
			b = ser.head[k-1]
			if room := chunk.MaxReadings - b.Len(); room > 0 && room < part.Count {
				part.Count = room
			}
		}
		if b == nil || b.boot != boot || !b.Takes(col, part.Count) {
			b = s.newBlock(ser)
			b.boot = boot
		}
		at := b.Len()
		if k := len(b.origin); k == 0 || b.origin[k-1].position != from.position {
			from.at = at
			b.origin = append(b.origin, from)
		}
		b.Append(t, col, part)
		s.head.readings += part.Count
		if boot == 0 && ser.newest != nil {
			ser.newest.see(&b.Block, at)
		}
		span.First, span.Count = span.First+part.Count, span.Count-part.Count
	}
}

// newBlock opens a block at the end of a series' head.
func (s *Service) newBlock(ser *series) *headBlock {
	if len(ser.head) == 0 {
		s.head.touched = append(s.head.touched, ser)
	}
	var b *headBlock
	if k := len(s.free); k > 0 {
		b, s.free = s.free[k-1], s.free[:k-1]
		s.freeSize -= cap(b.Times)
	} else {
		b = &headBlock{}
	}
	ser.head = append(ser.head, b)
	return b
}

// see takes the newest of the readings from index at.
func (n *newest) see(b *chunk.Block, at int) {
	best := -1
	for i, t := range b.Times[at:] {
		if t >= n.time {
			n.time, best = t, at+i
		}
	}
	if best >= 0 {
		n.raw = n.time
		if len(b.Aux) > 0 {
			n.raw += b.Aux[best]
		}
		n.reading = b.Reading(best)
	}
}
