//go:build !linux

package host

import "runtime"

// everywhere lists metrics that this system offers.
func everywhere() []Point {
	if runtime.GOOS == "windows" {
		return []Point{{Metric: "disk_free_bytes"}, {Metric: "disk_used_pct"}, {Metric: "uptime_s"}}
	}
	return []Point{{Metric: "uptime_s"}}
}
