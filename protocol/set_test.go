package protocol

import (
	"testing"

	"pgregory.net/rapid"
)

// The interval set against a plain map, under random operations.
func TestSetIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Set
		m := map[uint64]bool{}
		for range rapid.IntRange(0, 60).Draw(t, "operations") {
			a := rapid.Uint64Range(0, 80).Draw(t, "first")
			b := a + rapid.Uint64Range(0, 12).Draw(t, "span")
			s.Add(a, b)
			if a != 0 {
				for q := a; q <= b; q++ {
					m[q] = true
				}
			}
			checkSet(t, s, m)
		}
		a, b := rapid.Uint64Range(0, 90).Draw(t, "a"), rapid.Uint64Range(0, 90).Draw(t, "b")
		missing := s.Missing(a, b)
		all := a <= b
		for q := uint64(0); q <= 100; q++ {
			in := q != 0 && q >= a && q <= b
			if want := in && !m[q]; missing.Contains(q) != want {
				t.Fatalf("%v.Missing(%d, %d) = %v: %d is wrong", s, a, b, missing, q)
			}
			all = all && (!(q >= a && q <= b) || m[q])
		}
		if a <= b && s.ContainsAll(a, b) != all {
			t.Fatalf("%v.ContainsAll(%d, %d) = %v", s, a, b, !all)
		}
	})
}

func checkSet(t *rapid.T, s Set, m map[uint64]bool) {
	if int(s.Count()) != len(m) {
		t.Fatalf("%v: count %d, not %d", s, s.Count(), len(m))
	}
	for q := uint64(0); q <= 100; q++ {
		if s.Contains(q) != m[q] {
			t.Fatalf("%v: Contains(%d) is %v", s, q, s.Contains(q))
		}
	}
	r := s.Ranges()
	for i := 1; i < len(r); i++ {
		if r[i].First <= r[i-1].Last+1 {
			t.Fatalf("%v: ranges touch", s)
		}
	}
	parsed, err := ParseSet(s.String())
	if err != nil || !parsed.Equal(s) {
		t.Fatalf("ParseSet(%q) = %v, %v", s, parsed, err)
	}
	b, err := s.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	var back Set
	if err := back.UnmarshalCBOR(b); err != nil || !back.Equal(s) {
		t.Fatalf("%v comes back from CBOR as %v, %v", s, back, err)
	}
}

// Union and difference of two sets, against plain maps.
func TestSetsCombine(t *testing.T) {
	draw := func(t *rapid.T, name string) (Set, map[uint64]bool) {
		var s Set
		m := map[uint64]bool{}
		for _, q := range rapid.SliceOfN(rapid.Uint64Range(1, 90), 0, 60).Draw(t, name) {
			s.Add(q, q)
			m[q] = true
		}
		return s, m
	}
	rapid.Check(t, func(t *rapid.T) {
		a, inA := draw(t, "a")
		b, inB := draw(t, "b")
		union, both := a.Clone(), map[uint64]bool{}
		union.AddSet(b)
		for q := range uint64(100) {
			if inA[q] || inB[q] {
				both[q] = true
			}
			if want := inA[q] && !inB[q]; a.Minus(b).Contains(q) != want {
				t.Fatalf("%v without %v is %v", a, b, a.Minus(b))
			}
		}
		checkSet(t, union, both)
		checkSet(t, a, inA)
		checkSet(t, b, inB)
	})
}

func TestSetAtTheEdgeOfUint64(t *testing.T) {
	const top = ^uint64(0)
	var s Set
	s.Add(top, top)
	s.Add(1, 1)
	s.Add(top-1, top-1)
	if got, want := s.String(), "1,18446744073709551614-18446744073709551615"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if m := s.Missing(1, top); m.Count() != top-3 {
		t.Fatalf("missing %v", m)
	}
}

func TestParseSetRefuses(t *testing.T) {
	for _, text := range []string{"0", "0-3", "2-1", "1-1", "1,2", "1-3,4", "5,1", "1,", ",", "a", "1-", "-1", "1 - 2", "18446744073709551616"} {
		if s, err := ParseSet(text); err == nil {
			t.Errorf("ParseSet(%q) = %v, want an error", text, s)
		}
	}
}
