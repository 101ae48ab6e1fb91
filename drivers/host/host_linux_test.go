package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tidemark/drivers"
)

// everywhere lists metrics that every Linux has.
func everywhere() []Point {
	return []Point{{Metric: "cpu_pct"}, {Metric: "load_1"}, {Metric: "load_5"}, {Metric: "load_15"},
		{Metric: "mem_available_bytes"}, {Metric: "mem_used_pct"}, {Metric: "disk_free_bytes", Path: "/"}, {Metric: "disk_used_pct"},
		{Metric: "net_rx_bytes", Interface: "lo"}, {Metric: "net_tx_bytes", Interface: "lo"},
		{Metric: "net_rx_errors", Interface: "lo"}, {Metric: "net_tx_errors", Interface: "lo"}, {Metric: "uptime_s"}}
}

// poller opens a bus of one device and returns how to poll it.
func poller(t *testing.T, s *Sensor) func() []drivers.Reading {
	t.Helper()
	var sc drivers.Scan
	return func() []drivers.Reading {
		t.Helper()
		sc.Reset(&s.specs[0])
		if err := s.Read(t.Context(), 0, &sc); err != nil {
			t.Fatal(err)
		}
		return sc.Readings
	}
}

func mustOpen(t *testing.T, b drivers.BusSpec) *Sensor {
	t.Helper()
	s, err := Open(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func number(r drivers.Reading) float64 {
	if r.Value.Type() == drivers.Int {
		return float64(r.Value.Int())
	}
	return r.Value.Float()
}

// Every reading lies between two looks at the same thing in another way, one
// before and one after. What moves to and fro may need several tries.
func TestAgainstIndependentLooks(t *testing.T) {
	for _, c := range []struct {
		point Point
		look  func(t *testing.T) float64
		slack float64 // for what is rounded
	}{
		{Point{Metric: "uptime_s"}, func(t *testing.T) float64 {
			var ts unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
				t.Fatal(err)
			}
			return float64(ts.Nano()) / 1e9
		}, .011},
		{Point{Metric: "load_1"}, func(t *testing.T) float64 { return float64(sysinfo(t).Loads[0]) / 65536 }, .01},
		{Point{Metric: "load_15"}, func(t *testing.T) float64 { return float64(sysinfo(t).Loads[2]) / 65536 }, .01},
		{Point{Metric: "mem_available_bytes"}, available, 0},
		{Point{Metric: "mem_used_pct"}, func(t *testing.T) float64 {
			si := sysinfo(t)
			return 100 * (1 - available(t)/(float64(si.Totalram)*float64(si.Unit)))
		}, .06},
		{Point{Metric: "disk_free_bytes", Path: os.TempDir()}, func(t *testing.T) float64 { return df(t, "avail") }, 0},
		{Point{Metric: "disk_used_pct", Path: os.TempDir()}, func(t *testing.T) float64 {
			used := df(t, "used")
			return 100 * used / (used + df(t, "avail"))
		}, .06},
		{Point{Metric: "net_rx_bytes", Interface: "lo"}, func(t *testing.T) float64 { return procNetDev(t, "lo", 0) }, 0},
		{Point{Metric: "net_tx_bytes", Interface: "lo"}, func(t *testing.T) float64 { return procNetDev(t, "lo", 8) }, 0},
	} {
		t.Run(c.point.Metric, func(t *testing.T) {
			poll := poller(t, mustOpen(t, gateway(c.point)))
			var before, after float64
			var r drivers.Reading
			for range 200 {
				before, r, after = c.look(t), poll()[0], c.look(t)
				if r.Quality != drivers.Good {
					t.Fatalf("%+v", r)
				}
				if v := number(r); v >= min(before, after)-c.slack && v <= max(before, after)+c.slack {
					return
				}
			}
			t.Errorf("%v is never within %v and %v", number(r), before, after)
		})
	}
}

func sysinfo(t *testing.T) (si unix.Sysinfo_t) {
	t.Helper()
	if err := unix.Sysinfo(&si); err != nil {
		t.Fatal(err)
	}
	return si
}

func available(t *testing.T) float64 {
	out, err := exec.Command("awk", "/^MemAvailable/ {print $2}", "/proc/meminfo").Output()
	return 1024 * parse(t, out, err)
}

func df(t *testing.T, column string) float64 {
	out, err := exec.Command("df", "--block-size=1", "--output="+column, os.TempDir()).Output()
	_, last, _ := strings.Cut(string(out), "\n")
	return parse(t, []byte(last), err)
}

func procNetDev(t *testing.T, iface string, column int) float64 {
	b, err := os.ReadFile("/proc/net/dev")
	_, line, _ := strings.Cut(string(b), iface+":")
	return parse(t, []byte(strings.Fields(line)[column]), err)
}

func parse(t *testing.T, b []byte, err error) float64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// fake is a system of files made up, for what this machine has not.
func fake(t *testing.T, files map[string]string, points ...Point) func() []drivers.Reading {
	t.Helper()
	root := t.TempDir()
	write(t, root, files)
	s := mustOpen(t, gateway(points...))
	s.system.proc, s.system.sys = filepath.Join(root, "proc"), filepath.Join(root, "sys")
	return poller(t, s)
}

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTemperatures(t *testing.T) {
	const zones = "sys/class/thermal/"
	poll := fake(t, map[string]string{
		zones + "thermal_zone0/type": "acpitz\n", zones + "thermal_zone0/temp": "27800\n",
		zones + "thermal_zone1/type": "cpu-thermal\n", zones + "thermal_zone1/temp": "-5\n",
		zones + "thermal_zone2/type": "broken\n", zones + "thermal_zone2/temp": "hot\n",
		zones + "thermal_zone3/temp": "1000\n",
	}, Point{Metric: "temp_c"}, Point{Metric: "temp_c", Zone: "cpu-thermal"}, Point{Metric: "temp_c", Zone: "thermal_zone3"},
		Point{Metric: "temp_c", Zone: "broken"}, Point{Metric: "temp_c", Zone: "gone"}, Point{Metric: "temp_c", Zone: "thermal_zone9"})
	for range 2 {
		r := poll()
		for i, want := range []float64{27.8, -.005, 1} {
			if r[i].Quality != drivers.Good || r[i].Value.Float() != want {
				t.Errorf("point %d: %+v, want %v", i, r[i], want)
			}
		}
		for i, reason := range map[int]string{3: drivers.ReasonProtocol, 4: drivers.ReasonNotFound, 5: drivers.ReasonNotFound} {
			if r[i].Quality != drivers.Bad || r[i].Reason != reason {
				t.Errorf("point %d: %+v, want %s", i, r[i], reason)
			}
		}
	}
}

func TestAnswersOfAnotherForm(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"empty":     {"proc/stat": "", "proc/loadavg": "", "proc/uptime": "", "proc/meminfo": "MemTotal:\n"},
		"text":      {"proc/stat": "cpu a b c d e f g h\n", "proc/loadavg": "x y z", "proc/uptime": "?", "proc/meminfo": "MemTotal: x kB\nMemAvailable: 1 kB\n"},
		"nothing":   {"proc/stat": "cpu 0 0 0 0 0 0 0 0\n", "proc/meminfo": "MemTotal: 0 kB\nMemAvailable: 0 kB\n"},
		"no files":  {},
		"senseless": {"proc/meminfo": "MemTotal: 5 kB\nMemAvailable: 6 kB\n"},
	} {
		t.Run(name, func(t *testing.T) {
			poll := fake(t, files, Point{Metric: "cpu_pct"}, Point{Metric: "load_1"}, Point{Metric: "uptime_s"},
				Point{Metric: "mem_used_pct"}, Point{Metric: "mem_available_bytes"}, Point{Metric: "net_rx_bytes", Interface: "lo"})
			for i, r := range poll() {
				if r.Quality != drivers.Bad || r.Reason != drivers.ReasonProtocol && r.Reason != drivers.ReasonNotFound {
					t.Errorf("point %d: %+v", i, r)
				}
			}
		})
	}
}

// The processor's share is exact between two polls, and honest about the first.
func TestCPU(t *testing.T) {
	root := t.TempDir()
	s := mustOpen(t, gateway(Point{Metric: "cpu_pct"}))
	s.system.proc = filepath.Join(root, "proc")
	poll := poller(t, s)
	write(t, root, map[string]string{"proc/stat": "cpu  10 5 5 70 10 0 0 0 7 0\ncpu0 1 2 3 4\n"})
	if r := poll()[0]; r.Quality != drivers.Uncertain || r.Reason != ReasonSinceBoot || r.Value.Float() != 20 {
		t.Errorf("first: %+v", r)
	}
	write(t, root, map[string]string{"proc/stat": "cpu  30 5 5 90 20 5 3 2 7 0\n"})
	if r := poll()[0]; r.Quality != drivers.Good || r.Value.Float() != 50 {
		t.Errorf("second: %+v", r)
	}
}
