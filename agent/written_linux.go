package agent

import (
	"bytes"
	"os"
	"strconv"
)

// writtenBytes returns what this process has caused to be written to disks
// (write_bytes of proc_pid_io(5)), less what was deleted before it got there.
func writtenBytes() (uint64, bool) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, false
	}
	var written, cancelled uint64
	for line := range bytes.Lines(b) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		n, err := strconv.ParseUint(string(value), 10, 64)
		switch {
		case err != nil:
		case string(name) == "write_bytes":
			written = n
		case string(name) == "cancelled_write_bytes":
			cancelled = n
		}
	}
	return written - min(cancelled, written), true
}
