//go:build linux

// Package process reads what the kernel counted for one process: CPU time, bytes written to storage, resident memory. `make
// bench` measures ours and the peer with it, from outside, so neither has to report on itself. It keeps nothing and changes
// nothing.
package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc/PID/stat: USER_HZ is 100 on every Linux architecture that Go runs on.
const tick = 10 * time.Millisecond

// Usage is what a process has used since its start, and its memory now.
type Usage struct {
	CPU     time.Duration // user and system, in steps of 10 ms
	Written uint64        // bytes sent to the storage layer (proc(5): write_bytes); cached writes count when they are made
	RSS     uint64        // resident bytes now
}

// Sub returns what was used since an earlier reading; RSS stays the present one.
func (u Usage) Sub(earlier Usage) Usage {
	return Usage{CPU: u.CPU - earlier.CPU, Written: u.Written - earlier.Written, RSS: u.RSS}
}

// Read returns the usage of process pid. Reading another user's process needs root.
func Read(pid int) (Usage, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	cpu, err := readCPU(dir + "stat")
	if err != nil {
		return Usage{}, err
	}
	written, err := readField(dir+"io", "write_bytes:")
	if err != nil {
		return Usage{}, err
	}
	rss, err := readField(dir+"status", "VmRSS:")
	if err != nil {
		return Usage{}, err
	}
	return Usage{CPU: cpu, Written: written, RSS: rss << 10}, nil
}

func readCPU(path string) (time.Duration, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	// The name in parentheses may hold spaces; utime and stime are fields 14 and 15, 11 and 12 after it.
	rest := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(rest) < 13 {
		return 0, fmt.Errorf("process: %s has %d fields after the name, want 13 or more", path, len(rest))
	}
	user, err := strconv.ParseUint(rest[11], 10, 63)
	if err != nil {
		return 0, fmt.Errorf("process: %s: utime: %w", path, err)
	}
	system, err := strconv.ParseUint(rest[12], 10, 63)
	if err != nil {
		return 0, fmt.Errorf("process: %s: stime: %w", path, err)
	}
	return time.Duration(user+system) * tick, nil
}

func readField(path, name string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseUint(f[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("process: %s: %s %w", path, name, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("process: %s has no %s", path, name)
}
