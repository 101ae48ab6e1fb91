package outbox

import (
	"slices"
	"strings"

	"tidemark/protocol"
)

// widened is the schema that stands in for another once its telemetry is
// thinned to one scan a minute.
type widened struct {
	from, schema *protocol.Schema
	at           []int    // by point of from: the place of its last value in schema
	more         [][3]int // the places of its minimum, maximum and mean; -1 where there is none
	group        []int    // by point of from: the group that it is in
}

// The aggregates of a point, beside its last value.
var aggregates = [3]string{"_min", "_max", "_mean"}

const maxNamePart = 63

// widen makes the schema of thinned telemetry: behind each Float and Int point
// stand device.point_min, _max (like the point) and _mean (Float). Where the
// name would be longer than 63 characters the point's part of it is cut; where
// the schema has it already, _1m_min and so on stands for it; where that is
// taken too, the aggregate is left out. If the schema would be too large, only
// the first of its points get aggregates. Nil: no such schema is possible.
func widen(s *protocol.Schema) *widened {
	numbers := 0
	for _, p := range s.Points {
		if p.Kind <= protocol.Int {
			numbers++
		}
	}
	for n := min(numbers, (protocol.MaxPoints-len(s.Points))/len(aggregates)); ; n /= 2 {
		if w := widenFirst(s, n); w != nil || n == 0 {
			return w
		}
	}
}

// widenFirst is widen with aggregates for n points.
func widenFirst(s *protocol.Schema, n int) *widened {
	w := &widened{from: s}
	taken := map[string]bool{}
	for _, p := range s.Points {
		taken[p.Name] = true
	}
	var points []protocol.Point
	var groups []int
	i := 0
	for g, size := range s.Groups {
		before := len(points)
		for range size {
			p := s.Points[i]
			i++
			w.at, w.group = append(w.at, len(points)), append(w.group, g)
			points = append(points, p)
			more := [3]int{-1, -1, -1}
			if p.Kind <= protocol.Int && n > 0 {
				n--
				points = appendAggregates(points, p, taken, &more)
			}
			w.more = append(w.more, more)
		}
		groups = append(groups, len(points)-before)
	}
	var err error
	if w.schema, err = protocol.NewSchema(points, groups); err != nil {
		return nil
	}
	return w
}

func appendAggregates(points []protocol.Point, p protocol.Point, taken map[string]bool, more *[3]int) []protocol.Point {
	for k, suffix := range aggregates {
		name := nameWith(p.Name, suffix)
		if taken[name] {
			name = nameWith(p.Name, "_1m"+suffix)
		}
		if taken[name] {
			continue
		}
		taken[name] = true
		a := p
		a.Name = name
		if suffix == "_mean" {
			a = protocol.Point{Name: name, Unit: p.Unit, Kind: protocol.Float}
		}
		more[k] = len(points)
		points = append(points, a)
	}
	return points
}

func nameWith(name, suffix string) string {
	device, point, _ := strings.Cut(name, ".")
	return device + "." + point[:min(len(point), maxNamePart-len(suffix))] + suffix
}

// row writes what a minute holds as one scan of the widened schema.
func (w *widened) row(m *minute, times []int64, out []protocol.Reading) {
	copy(times, m.times)
	latest := times[slices.Index(m.seen, true)]
	for g, seen := range m.seen {
		if seen {
			latest = max(latest, times[g])
		}
	}
	for g, seen := range m.seen {
		if !seen { // none of its points has a reading
			times[g] = latest
		}
	}
	for p := range m.cells {
		c := &m.cells[p]
		out[w.at[p]] = c.lastReading()
		for k, place := range w.more[p] {
			if place >= 0 {
				out[place] = c.aggregate(k)
			}
		}
	}
}
