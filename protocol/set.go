package protocol

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Range is the seqs First to Last, both included.
type Range struct{ First, Last uint64 }

// Count returns the number of seqs in r.
func (r Range) Count() uint64 { return r.Last - r.First + 1 }

// Set is a set of seqs. Its ranges are sorted, and between two of them at
// least one seq is missing, so equal sets have equal ranges. Seqs start at 1;
// 0 is in no set. The zero Set is empty. Copy it with Clone.
type Set struct{ ranges []Range }

// SetOf returns the set of the given ranges.
func SetOf(ranges ...Range) Set {
	var s Set
	for _, r := range ranges {
		s.Add(r.First, r.Last)
	}
	return s
}

// Add puts first to last, both included, into s. It does nothing if first is
// 0 or more than last.
func (s *Set) Add(first, last uint64) {
	if first == 0 || first > last {
		return
	}
	if n := len(s.ranges); n > 0 { // nearly always at the end
		if end := &s.ranges[n-1]; first > end.First && first-1 <= end.Last {
			end.Last = max(end.Last, last)
			return
		} else if first > end.Last {
			s.ranges = append(s.ranges, Range{first, last})
			return
		}
	}
	// i: the first range that first touches; j: one past the last that last touches.
	i, _ := slices.BinarySearchFunc(s.ranges, first, func(r Range, f uint64) int {
		if r.Last < f-1 {
			return -1
		}
		return 1
	})
	j := i
	for j < len(s.ranges) && (last == math.MaxUint64 || s.ranges[j].First <= last+1) {
		first, last = min(first, s.ranges[j].First), max(last, s.ranges[j].Last)
		j++
	}
	s.ranges = slices.Replace(s.ranges, i, j, Range{first, last})
}

// AddSet puts all of t into s.
func (s *Set) AddSet(t Set) {
	if len(t.ranges) < 8 {
		for _, r := range t.ranges {
			s.Add(r.First, r.Last)
		}
		return
	}
	// Each Add in the middle would move all that is behind it.
	merged := Set{make([]Range, 0, len(s.ranges)+len(t.ranges))}
	for a, b := s.ranges, t.ranges; len(a) > 0 || len(b) > 0; {
		if len(b) == 0 || len(a) > 0 && a[0].First < b[0].First {
			merged.Add(a[0].First, a[0].Last)
			a = a[1:]
		} else {
			merged.Add(b[0].First, b[0].Last)
			b = b[1:]
		}
	}
	*s = merged
}

// at returns the index of the range that holds seq, or of the next one.
func (s Set) at(seq uint64) (int, bool) {
	i, _ := slices.BinarySearchFunc(s.ranges, seq, func(r Range, q uint64) int {
		if r.Last < q {
			return -1
		}
		return 1
	})
	return i, i < len(s.ranges) && s.ranges[i].First <= seq
}

// Contains reports whether seq is in s.
func (s Set) Contains(seq uint64) bool { _, ok := s.at(seq); return ok }

// ContainsAll reports whether first to last, both included, are all in s.
func (s Set) ContainsAll(first, last uint64) bool {
	i, ok := s.at(first)
	return ok && s.ranges[i].Last >= last
}

// Missing returns what of first to last is not in s.
func (s Set) Missing(first, last uint64) Set {
	var out Set
	if first == 0 {
		first = 1
	}
	i, _ := s.at(first)
	for ; i < len(s.ranges) && s.ranges[i].First <= last; i++ {
		if s.ranges[i].First > first {
			out.Add(first, s.ranges[i].First-1)
		}
		if s.ranges[i].Last >= last {
			return out
		}
		first = s.ranges[i].Last + 1
	}
	out.Add(first, last)
	return out
}

// Minus returns what of s is not in t.
func (s Set) Minus(t Set) Set {
	var out Set
	for _, r := range s.ranges {
		out.AddSet(t.Missing(r.First, r.Last))
	}
	return out
}

// Count returns the number of seqs in s.
func (s Set) Count() (n uint64) {
	for _, r := range s.ranges {
		n += r.Count()
	}
	return n
}

// Min returns the smallest seq in s, 0 if s is empty.
func (s Set) Min() uint64 {
	if len(s.ranges) == 0 {
		return 0
	}
	return s.ranges[0].First
}

// Max returns the largest seq in s, 0 if s is empty.
func (s Set) Max() uint64 {
	if len(s.ranges) == 0 {
		return 0
	}
	return s.ranges[len(s.ranges)-1].Last
}

// Ranges returns the ranges of s in order. The caller must not change them.
func (s Set) Ranges() []Range { return s.ranges }

// Empty reports whether s holds nothing.
func (s Set) Empty() bool { return len(s.ranges) == 0 }

// Clone returns a copy of s that shares nothing with it.
func (s Set) Clone() Set { return Set{slices.Clone(s.ranges)} }

// Equal reports whether s and t hold the same seqs.
func (s Set) Equal(t Set) bool { return slices.Equal(s.ranges, t.ranges) }

// String returns s as in "1-500,602", or "" if it is empty. [ParseSet] reads it.
func (s Set) String() string {
	var b []byte
	for i, r := range s.ranges {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, r.First, 10)
		if r.Last != r.First {
			b = append(b, '-')
			b = strconv.AppendUint(b, r.Last, 10)
		}
	}
	return string(b)
}

// ParseSet reads what String wrote. It refuses ranges that are out of order,
// touch or overlap, so that a set has one text only.
func ParseSet(text string) (Set, error) {
	var s Set
	if text == "" {
		return s, nil
	}
	if strings.Count(text, ",") >= MaxRanges {
		return s, refuse(ReasonTooLarge, "set", "more than %d ranges", MaxRanges)
	}
	for part := range strings.SplitSeq(text, ",") {
		a, b, isRange := strings.Cut(part, "-")
		first, ok := parseSeq(a)
		last := first
		if ok && isRange {
			last, ok = parseSeq(b)
		}
		if !ok || first == 0 || last < first || isRange && last == first {
			return Set{}, refuse(ReasonMalformed, "set", "%.40q is not a range of seqs", part)
		}
		if m := s.Max(); m > 0 && first-1 <= m {
			return Set{}, refuse(ReasonMalformed, "set", "range %.40q is not after the one before it", part)
		}
		s.ranges = append(s.ranges, Range{first, last})
	}
	return s, nil
}

// parseSeq reads a seq that has no leading zero.
func parseSeq(s string) (uint64, bool) {
	q, err := strconv.ParseUint(s, 10, 64)
	return q, err == nil && (s[0] != '0' || len(s) == 1)
}

// MarshalCBOR writes s as an array of unsigned integers: for each range the
// distance of its first seq from the last seq of the range before it (from 0
// for the first range), and the number of seqs that follow the first.
func (s Set) MarshalCBOR() ([]byte, error) {
	flat := make([]uint64, 0, 2*len(s.ranges))
	var prev uint64
	for _, r := range s.ranges {
		flat = append(flat, r.First-prev, r.Last-r.First)
		prev = r.Last
	}
	return encMode.Marshal(flat)
}

// UnmarshalCBOR reads what MarshalCBOR wrote.
func (s *Set) UnmarshalCBOR(data []byte) error {
	var flat []uint64
	if err := decMode.Unmarshal(data, &flat); err != nil {
		return at("set", err)
	}
	if len(flat)%2 != 0 {
		return refuse(ReasonMalformed, "set", "%d numbers are not pairs", len(flat))
	}
	if len(flat) > 2*MaxRanges {
		return refuse(ReasonTooLarge, "set", "%d ranges are over the limit of %d", len(flat)/2, MaxRanges)
	}
	ranges := make([]Range, 0, len(flat)/2)
	var prev uint64
	for i := 0; i < len(flat); i += 2 {
		gap, span := flat[i], flat[i+1]
		first, last := prev+gap, prev+gap+span
		if gap == 0 || gap == 1 && i > 0 || first < prev || last < first {
			return refuse(ReasonMalformed, "set", "range %d touches the one before it, or overflows", i/2)
		}
		ranges = append(ranges, Range{first, last})
		prev = last
	}
	s.ranges = ranges
	return nil
}
