package outbox

import (
	"os"
	"path/filepath"
	"testing"

	"tidemark/protocol"
)

// FuzzSalvage: whatever a segment file holds, reading and scanning it neither
// panics nor takes long, and what comes out is whole and stands at its seq.
func FuzzSalvage(f *testing.F) {
	dir := f.TempDir()
	o, end := start(f, Config{Dir: dir, PageSize: 512, SegmentBytes: 64 << 10})
	appendN(f, o, 12, 100)
	end()
	files, _ := filepath.Glob(filepath.Join(dir, "seg-*"))
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), segmentName(1))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for seq, m := range scanFile(path).messages {
			if got, err := protocol.DecodeMessage(m.data); err != nil || got.Seq != seq {
				t.Fatalf("message at %d: %v", seq, err)
			}
		}
		s := &segment{path: path, first: 1, last: 1000}
		_ = s.read(1, 1000, func(seq, _ uint64, data []byte) (bool, error) {
			_, err := stored(seq, data)
			return true, err
		})
		_ = s.schemas()
		_, _ = readTail(path)
	})
}
