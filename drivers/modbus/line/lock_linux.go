package line

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockPort takes the advisory lock that serial programs agree on (flock), beside
// the exclusive mode that the library sets but that does not hold against root.
// A port that somebody has open without a lock is refused as well: two masters
// on one line would read each other's answers. Pseudo-terminals are exempt from
// that, since whoever stands in for the device often has the port open, too.
func lockPort(path string) (io.Closer, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, heldBy(path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("%s: %w", path, errPermission)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%s: %w", path, errNoPort)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	lock := descriptor(fd)
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s: %w", path, errNoTerminal)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, heldBy(path)
		}
		return nil, fmt.Errorf("%s: locking: %w", path, err)
	}
	if pid := opener(path); pid != 0 && !isPTY(fd) {
		lock.Close()
		return nil, &HeldError{Port: path, PID: pid, Name: program(pid)}
	}
	return lock, nil
}

// descriptor is a file that is only held, never read: an os.File would make
// the runtime poll it.
type descriptor int

func (d descriptor) Close() error { return unix.Close(int(d)) }

func isPTY(fd int) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	major := unix.Major(st.Rdev)
	return major >= 136 && major <= 143 // Linux, Documentation/admin-guide/devices.txt
}

// heldBy returns an error that names who holds a port, as far as /proc tells.
func heldBy(path string) error {
	pid := locker(path)
	if pid == 0 {
		pid = opener(path)
	}
	return &HeldError{Port: path, PID: pid, Name: program(pid)}
}

// locker returns the process that has a lock on the file, or 0.
func locker(path string) int {
	var st unix.Stat_t
	table, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Stat(path, &st) != nil {
		return 0
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 815 00:16:5 0 EOF
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != file {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}

// opener returns another process that has the file open, or 0.
func opener(path string) int {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return 0
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err != nil || to != real {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(l, "/")[2])
		if err == nil && pid != os.Getpid() {
			return pid
		}
	}
	return 0
}

func program(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	switch {
	case pid == os.Getpid():
		return "this agent, for another bus"
	case err != nil:
		return "unknown"
	}
	return strings.TrimSpace(string(name))
}
