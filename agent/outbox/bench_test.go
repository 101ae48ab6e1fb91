package outbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeBytes returns the bytes that this process has caused to be written to
// disks, -1 where the system does not tell (Linux: proc_pid_io(5)).
func writeBytes() int64 {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return -1
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		var n int64
		if c, _ := fmt.Sscanf(line, "write_bytes: %d", &n); c == 1 {
			return n
		}
	}
	return -1
}

func diskBytes(dir string) (n int64) {
	files, _ := filepath.Glob(filepath.Join(dir, "seg-*"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}

// BenchmarkCommit measures what one commit of one message costs: B/commit is
// what the process writes, disk-B/message what the segments take. Messages of
// 330 and 420 bytes are 100 readings each.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{330, 420} {
		for _, page := range []int{1024, 2048, 4096} {
			b.Run(fmt.Sprintf("message=%d/page=%d", size, page), func(b *testing.B) {
				dir := b.TempDir()
				o, end := start(b, Config{Dir: dir, PageSize: page})
				m := event(size - 40)
				before := writeBytes()
				b.ResetTimer()
				for range b.N {
					t, err := o.Append(b.Context(), m, nil, true)
					if err != nil {
						b.Fatal(err)
					}
					if err := t.Wait(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				if n, _ := m.Encode(); b.N == 1 {
					b.Logf("message of %d bytes", len(n))
				}
				b.ReportMetric(float64(writeBytes()-before)/float64(b.N), "B/commit")
				end()
				b.ReportMetric(float64(diskBytes(dir))/float64(b.N), "disk-B/message")
			})
		}
	}
}

// BenchmarkLarge is 100 messages of 64 KiB, appended as fast as the outbox
// takes them, until the last is committed.
func BenchmarkLarge(b *testing.B) {
	o, end := start(b, Config{Dir: b.TempDir()})
	defer end()
	m := event(64 << 10)
	for b.Loop() {
		var last *Ticket
		for i := range 100 {
			t, err := o.Append(b.Context(), m, nil, i == 99)
			if err != nil {
				b.Fatal(err)
			}
			last = t
		}
		if err := last.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
