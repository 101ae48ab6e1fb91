package protocol

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// cell is what Add finds out about a reading before it takes it.
type cell struct {
	raw   int64
	code  int32 // of its mark, 0 if it is good
	value cellValue
	size  int
}

type cellValue uint8

const (
	noValue cellValue = iota
	rawValue
	floatValue
	textValue
)

// plan finds the cell of a reading: how it is stored, and what that costs.
func (b *Builder) plan(i int, r *Reading) error {
	c, p := &b.cols[i], &b.schema.Points[i]
	l := &b.cells[i]
	*l = cell{}
	q, reason := r.Quality, r.Reason
	if q < Bad {
		if r.Value.kind != p.Kind {
			return fmt.Errorf("protocol: a value of kind %d for point %s of kind %d", r.Value.kind, p.Name, p.Kind)
		}
		if why := c.planValue(p, r, l); why != "" {
			*l = cell{}
			q, reason = Bad, why
		}
	}
	if q == Good {
		return nil
	}
	if q > NotRead {
		return fmt.Errorf("protocol: quality %d for point %s", q, p.Name)
	}
	l.code = b.reason(reason)<<2 | int32(q)
	l.size += c.markSize(b.scans, l.code)
	return nil
}

func (c *columnBuilder) planValue(p *Point, r *Reading, l *cell) (why string) {
	switch p.Kind {
	case Text:
		s := r.Value.text
		if len(s) > MaxText {
			return ReasonLongText
		}
		if !utf8.ValidString(s) {
			return ReasonBadText
		}
		l.value, l.size = textValue, len(s)+headSize(int64(len(s)))
		return ""
	case Float:
		ok := false
		if !c.plain {
			l.raw, ok = p.Scale.raw(r.Value.Float())
		}
		if !ok {
			l.value, l.size = floatValue, 8
			if !c.plain || len(c.floats) == 0 {
				l.size += plainHead + 8*len(c.ints) - c.size
			}
			return ""
		}
	default:
		l.raw = r.Value.Int()
	}
	l.value, l.size = rawValue, headSize(l.raw-c.prev)
	return ""
}

// reason returns the index of a reason, from 1; 0 is none.
func (b *Builder) reason(s string) int32 {
	if s == "" {
		return 0
	}
	if id, ok := b.reasonIDs[s]; ok {
		return id
	}
	clean := strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
	b.reasons = append(b.reasons, clean)
	b.size += len(clean) + 2 // it stays even if the scan does not fit
	b.reasonIDs[s] = int32(len(b.reasons))
	return int32(len(b.reasons))
}

func (c *columnBuilder) markSize(scan int, code int32) int {
	if k := len(c.runs); k > 0 {
		if r := c.runs[k-1]; r.code == code && r.first+r.count == scan {
			return headSize(int64(r.count)) - headSize(int64(r.count-1))
		}
	}
	n := headSize(int64(scan+1)) + 1
	for _, known := range c.codes[max(0, len(c.codes)-8):] {
		if known == code {
			return n
		}
	}
	return n + 10 + headSize(int64(code>>2))
}

// put takes the reading whose cell is planned.
func (b *Builder) put(i int, r *Reading) {
	c, l := &b.cols[i], &b.cells[i]
	if l.code != 0 {
		c.mark(b.scans, l.code)
	}
	switch l.value {
	case rawValue:
		c.ints = append(c.ints, l.raw)
		c.prev = l.raw
	case textValue:
		c.texts = append(c.texts, r.Value.text)
	case floatValue:
		if !c.plain {
			c.plain = true
			for _, raw := range c.ints {
				c.floats = append(c.floats, b.schema.Points[i].Scale.value(raw))
			}
			c.ints = c.ints[:0]
		}
		c.floats = append(c.floats, r.Value.Float())
	default:
		return
	}
	c.size += l.size
}

func (c *columnBuilder) mark(scan int, code int32) {
	if k := len(c.runs); k > 0 {
		r := &c.runs[k-1]
		if r.code == code && r.first+r.count == scan {
			r.count++
			return
		}
	}
	c.runs = append(c.runs, markRun{scan, 1, code})
	for _, known := range c.codes[max(0, len(c.codes)-8):] {
		if known == code {
			return
		}
	}
	c.codes = append(c.codes, code)
}
