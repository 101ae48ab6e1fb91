package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tidemark/drivers"
)

// system reads a Linux. What one poll reads twice is read once.
type system struct {
	proc, sys string // where those file systems are mounted
	cache     map[string][]byte
	zones     map[string]string // thermal zones by type
}

func newSystem() system {
	return system{proc: "/proc", sys: "/sys", cache: map[string][]byte{}}
}

// begin forgets what the last poll has read.
func (s *system) begin() { clear(s.cache) }

// maxFile bounds what is read of a file; of /proc/stat only the beginning is needed.
const maxFile = 16 << 10

func (s *system) file(parts ...string) ([]byte, error) {
	path := filepath.Join(parts...)
	if b, ok := s.cache[path]; ok {
		return b, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	s.cache[path] = b
	return b, nil
}

func (s *system) read(p *Point, cpu *cpuMeter) (drivers.Value, error) {
	switch p.Metric {
	case "cpu_pct":
		return s.cpu(cpu)
	case "load_1":
		return s.field(0, "loadavg")
	case "load_5":
		return s.field(1, "loadavg")
	case "load_15":
		return s.field(2, "loadavg")
	case "uptime_s":
		return s.field(0, "uptime")
	case "mem_available_bytes", "mem_used_pct":
		return s.memory(p.Metric)
	case "disk_free_bytes", "disk_used_pct":
		return s.disk(p)
	case "temp_c":
		return s.temperature(p.Zone)
	}
	if name, ok := strings.CutPrefix(p.Metric, "net_"); ok {
		return s.network(p.Interface, name)
	}
	return drivers.Value{}, errUnsupported
}

// cpu reads the first line of /proc/stat, proc_stat(5): user nice system idle iowait irq
// softirq steal, in ticks, over all processors. Time of guests is part of user.
func (s *system) cpu(m *cpuMeter) (drivers.Value, error) {
	b, err := s.file(s.proc, "stat")
	if err != nil {
		return drivers.Value{}, err
	}
	line, _, _ := bytes.Cut(b, []byte{'\n'})
	f := strings.Fields(string(line))
	if len(f) < 9 || f[0] != "cpu" {
		return drivers.Value{}, fmt.Errorf("%w: /proc/stat", errFormat)
	}
	var total, idle float64
	for i, t := range f[1:9] {
		ticks, err := strconv.ParseUint(t, 10, 64)
		if err != nil {
			return drivers.Value{}, fmt.Errorf("%w: /proc/stat: %w", errFormat, err)
		}
		total += float64(ticks)
		if i == 3 || i == 4 {
			idle += float64(ticks)
		}
	}
	if total == 0 {
		return drivers.Value{}, fmt.Errorf("%w: /proc/stat counts nothing", errFormat)
	}
	share, sinceBoot := m.update(total-idle, total)
	if sinceBoot {
		err = errSinceBoot
	}
	return drivers.FloatValue(share), err
}

// field reads a number of a file in /proc.
func (s *system) field(i int, name string) (drivers.Value, error) {
	b, err := s.file(s.proc, name)
	if err != nil {
		return drivers.Value{}, err
	}
	f := bytes.Fields(b)
	if len(f) <= i {
		return drivers.Value{}, fmt.Errorf("%w: /proc/%s", errFormat, name)
	}
	v, err := strconv.ParseFloat(string(f[i]), 64)
	if err != nil {
		return drivers.Value{}, fmt.Errorf("%w: /proc/%s: %w", errFormat, name, err)
	}
	return drivers.FloatValue(v), nil
}

// memory reads /proc/meminfo, proc_meminfo(5), which counts KiB.
func (s *system) memory(metric string) (drivers.Value, error) {
	b, err := s.file(s.proc, "meminfo")
	if err != nil {
		return drivers.Value{}, err
	}
	var kib [2]uint64
	for i, key := range []string{"MemTotal:", "MemAvailable:"} {
		_, rest, found := bytes.Cut(b, []byte(key))
		f := bytes.Fields(rest)
		if !found || len(f) == 0 {
			return drivers.Value{}, fmt.Errorf("%w: /proc/meminfo has no %s", errUnsupported, key)
		}
		if kib[i], err = strconv.ParseUint(string(f[0]), 10, 53); err != nil {
			return drivers.Value{}, fmt.Errorf("%w: /proc/meminfo: %w", errFormat, err)
		}
	}
	total, available := kib[0], kib[1]
	switch {
	case total == 0 || available > total:
		return drivers.Value{}, fmt.Errorf("%w: /proc/meminfo: %d of %d KiB available", errFormat, available, total)
	case metric == "mem_available_bytes":
		return drivers.IntValue(int64(available) << 10), nil
	}
	return drivers.FloatValue(pct(float64(total-available), float64(total))), nil
}

// disk asks statfs(2). Blocks that only root may use count as neither used nor
// free, as with df.
func (s *system) disk(p *Point) (drivers.Value, error) {
	path := p.Path
	if path == "" {
		path = "/"
	}
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return drivers.Value{}, &os.PathError{Op: "statfs", Path: path, Err: err}
		}
	}
	size := uint64(st.Frsize)
	if size == 0 {
		size = uint64(st.Bsize)
	}
	if p.Metric == "disk_free_bytes" {
		return drivers.IntValue(int64(min(st.Bavail*size, math.MaxInt64))), nil
	}
	used := float64(st.Blocks - st.Bfree)
	whole := used + float64(st.Bavail)
	if whole == 0 {
		return drivers.Value{}, fmt.Errorf("%w: %s has no size", errUnsupported, path)
	}
	return drivers.FloatValue(pct(used, whole)), nil
}

// temperature reads /sys/class/thermal, which counts thousandths of a degree.
func (s *system) temperature(zone string) (drivers.Value, error) {
	base := filepath.Join(s.sys, "class", "thermal")
	dir := zone
	if dir == "" {
		dir = "thermal_zone0"
	} else if !strings.HasPrefix(dir, "thermal_zone") {
		var err error
		if dir, err = s.zone(base, zone); err != nil {
			return drivers.Value{}, err
		}
	}
	n, err := s.number(base, dir, "temp")
	if err != nil {
		s.zones = nil // zones may have been numbered anew
		return drivers.Value{}, err
	}
	return drivers.FloatValue(float64(n) / 1000), nil
}

// zone finds a thermal zone by its type.
func (s *system) zone(base, typ string) (string, error) {
	if dir, ok := s.zones[typ]; ok {
		return dir, nil
	}
	dirs, err := filepath.Glob(filepath.Join(base, "thermal_zone*"))
	if err != nil {
		return "", err
	}
	s.zones = map[string]string{}
	for _, d := range dirs {
		b, err := s.file(d, "type")
		if err != nil {
			continue // it has gone since; the one asked for is looked up below
		}
		name := string(bytes.TrimSpace(b))
		if _, taken := s.zones[name]; !taken {
			s.zones[name] = filepath.Base(d)
		}
	}
	if dir, ok := s.zones[typ]; ok {
		return dir, nil
	}
	return "", fmt.Errorf("%w: no thermal zone is a %s", errUnsupported, typ)
}

// network reads /sys/class/net/…/statistics.
func (s *system) network(iface, name string) (drivers.Value, error) {
	b, err := s.file(s.sys, "class", "net", iface, "statistics", name)
	if err != nil {
		return drivers.Value{}, err
	}
	u, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return drivers.Value{}, fmt.Errorf("%w: %s of %s: %w", errFormat, name, iface, err)
	}
	return counter(u), nil
}

func (s *system) number(parts ...string) (int64, error) {
	b, err := s.file(parts...)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", errFormat, filepath.Join(parts...), err)
	}
	return n, nil
}
