package host

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"tidemark/drivers"
)

// Metric is one quantity of the gateway.
type Metric struct {
	Name, Summary string
	Unit          string // RFC 8428
	Type          drivers.Type
	Scale         drivers.Scale
	Key           string // the key that says of what: path, interface, zone, or none
}

var (
	tenth      = drivers.Scale{Num: 1, Den: 10}
	hundredth  = drivers.Scale{Num: 1, Den: 100}
	thousandth = drivers.Scale{Num: 1, Den: 1000}
)

// Metrics lists what a point can ask for.
func Metrics() []Metric {
	return slices.SortedFunc(maps.Values(metrics), func(a, b Metric) int {
		return cmp.Compare(a.Name, b.Name)
	})
}

var metrics = func() map[string]Metric {
	m := map[string]Metric{}
	for _, one := range []Metric{
		{"cpu_pct", "busy share of all processors since the last poll", "%", drivers.Float, tenth, ""},
		{"load_1", "load average of one minute", "", drivers.Float, hundredth, ""},
		{"load_5", "load average of five minutes", "", drivers.Float, hundredth, ""},
		{"load_15", "load average of fifteen minutes", "", drivers.Float, hundredth, ""},
		{"mem_available_bytes", "memory that programs can still get without swapping", "B", drivers.Int, drivers.Scale{}, ""},
		{"mem_used_pct", "share of memory that is not available", "%", drivers.Float, tenth, ""},
		{"disk_free_bytes", "room on a disk for programs without privileges", "B", drivers.Int, drivers.Scale{}, "path"},
		{"disk_used_pct", "used share of a disk, as df shows it", "%", drivers.Float, tenth, "path"},
		{"temp_c", "temperature of a thermal zone", "Cel", drivers.Float, thousandth, "zone"},
		{"net_rx_bytes", "bytes received by an interface", "B", drivers.Int, drivers.Scale{}, "interface"},
		{"net_tx_bytes", "bytes sent by an interface", "B", drivers.Int, drivers.Scale{}, "interface"},
		{"net_rx_errors", "packets received damaged", "", drivers.Int, drivers.Scale{}, "interface"},
		{"net_tx_errors", "packets that could not be sent", "", drivers.Int, drivers.Scale{}, "interface"},
		{"uptime_s", "time since boot", "s", drivers.Float, hundredth, ""},
	} {
		m[one.Name] = one
	}
	return m
}()

// pct returns part of whole in percent with one decimal, as the scale says.
func pct(part, whole float64) float64 {
	return math.Round(1000*part/whole) / 10
}

// counter returns a counter of the system as a value; those that have outgrown
// int64 begin again at 0.
func counter(u uint64) drivers.Value { return drivers.IntValue(int64(u & math.MaxInt64)) }
