package outbox

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidemark/protocol"
)

// copyDir copies what a folder holds now, as a crash would leave it.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

func small(dir string) Config {
	return Config{Dir: dir, SegmentBytes: 64 << 10, Budget: 8 << 20, CommitBytes: 16 << 10, CommitInterval: 5 * time.Millisecond}
}

// settle reads all until no segment waits for repair any more, then returns
// what can be read and what dropped messages name.
func settle(t testing.TB, o *Outbox) (map[uint64]Stored, protocol.Set) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		all := readAll(t, o)
		waiting := false
		for _, s := range o.Segments() {
			waiting = waiting || s.Quarantined && s.First <= s.Last
		}
		o.mu.Lock()
		waiting = waiting || len(o.pending) > 0
		o.mu.Unlock()
		if !waiting && len(readAll(t, o)) == len(all) {
			read, named := map[uint64]Stored{}, protocol.Set{}
			for _, s := range all {
				read[s.Seq] = s
				named.AddSet(namedBy(t, s))
			}
			return read, named
		}
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for repair: %+v", o.Segments())
		}
		<-time.After(time.Millisecond)
	}
}

func namedBy(t testing.TB, s Stored) protocol.Set {
	t.Helper()
	m, err := protocol.DecodeMessage(s.Data)
	if err != nil || m.Seq != s.Seq {
		t.Fatalf("message %d does not decode as itself: %v", s.Seq, err)
	}
	if m.Type != protocol.TypeDropped {
		return protocol.Set{}
	}
	var d protocol.Dropped
	if err := protocol.Unmarshal(m.Body, &d); err != nil {
		t.Fatal(err)
	}
	if d.Count != d.Ranges.Count() {
		t.Errorf("a report of %d messages names %d", d.Count, d.Ranges.Count())
	}
	return d.Ranges
}

func TestDamage(t *testing.T) {
	base, crashed := t.TempDir(), t.TempDir()
	o, end := start(t, small(base))
	const n = 700
	appendN(t, o, n, 200)
	copyDir(t, base, crashed)
	want := map[uint64]Stored{}
	for _, s := range readAll(t, o) {
		want[s.Seq] = s
	}
	end()
	seed := time.Now().UnixNano()
	r := rand.New(rand.NewSource(seed))
	t.Logf("seed %d", seed)
	worst, flips := uint64(0), 0
	for i := range 200 {
		from := base // closed in order
		if i%2 == 0 {
			from = crashed
		}
		dir := t.TempDir()
		copyDir(t, from, dir)
		what, bit := harm(t, r, dir, i)
		lost := checkDamaged(t, dir, want, what)
		if bit {
			worst, flips = max(worst, lost), flips+1
		}
		os.RemoveAll(dir)
		if t.Failed() {
			t.Fatalf("trial %d: %s", i, what)
		}
	}
	t.Logf("%d single flips lost %d messages at most", flips, worst)
	if worst > 2*4096/200 {
		t.Errorf("a single flipped bit lost %d messages, more than two pages hold", worst)
	}
}

// harm damages one file of the folder, and says whether by one bit only.
func harm(t testing.TB, r *rand.Rand, dir string, i int) (what string, oneBit bool) {
	pattern := "seg-*"
	if i%10 == 9 {
		pattern = "outbox-?.meta"
	}
	files, _ := filepath.Glob(filepath.Join(dir, pattern))
	name := files[r.Intn(len(files))]
	if i%3 == 0 && pattern == "seg-*" {
		name = files[len(files)-1]
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := r.Intn(len(data))
	switch i % 5 {
	case 0:
		data, what = data[:at], fmt.Sprintf("%s cut at %d", filepath.Base(name), at)
	case 1:
		at = r.Intn(min(len(data), 3*4096)) // meta pages and the first others
		fallthrough
	case 2, 3:
		bit := byte(1) << r.Intn(8)
		data[at] ^= bit
		what, oneBit = fmt.Sprintf("%s flipped %#x at %d", filepath.Base(name), bit, at), true
	default:
		k := min(len(data)-at, 1+r.Intn(9000))
		for j := range k {
			data[at+j] = byte(r.Intn(256))
		}
		what = fmt.Sprintf("%s %d random bytes at %d", filepath.Base(name), k, at)
	}
	if err := os.WriteFile(name, data, 0o640); err != nil {
		t.Fatal(err)
	}
	return what, oneBit
}

func checkDamaged(t *testing.T, dir string, want map[uint64]Stored, what string) (lost uint64) {
	begin := time.Now()
	o, end := start(t, small(dir))
	defer end()
	tk, err := o.Append(t.Context(), event(10), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := tk.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("%s: collecting again after %v", what, d)
	}
	if _, known := want[tk.Seq()]; known {
		t.Errorf("%s: seq %d was given twice", what, tk.Seq())
	}
	read, named := settle(t, o)
	for seq, w := range want {
		got, ok := read[seq]
		switch {
		case ok && !bytes.Equal(got.Data, w.Data):
			t.Errorf("%s: message %d is not what was appended", what, seq)
		case ok == named.Contains(seq):
			t.Errorf("%s: message %d: readable %v, named lost %v", what, seq, ok, named.Contains(seq))
		case !ok:
			lost++
		}
	}
	for seq := range read {
		if _, ok := want[seq]; !ok && seq < tk.Seq() && read[seq].Type != protocol.TypeDropped {
			t.Errorf("%s: message %d was never appended", what, seq)
		}
	}
	return lost
}
