package host

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"tidemark/drivers"
	"tidemark/drivers/drivertest"
)

// gateway is a bus with one device of the given points.
func gateway(points ...Point) drivers.BusSpec {
	d := drivers.DeviceSpec{Name: "gateway", Interval: time.Second}
	for i, p := range points {
		d.Points = append(d.Points, drivers.PointSpec{Name: string(rune('a' + i)), Config: &p})
	}
	return drivers.BusSpec{Name: "self", Devices: []drivers.DeviceSpec{d}}
}

func TestContract(t *testing.T) {
	drivertest.Run(t, drivertest.Subject{
		Driver: Driver(),
		Start: func(t *testing.T) drivertest.Rig {
			return drivertest.Rig{Bus: gateway(everywhere()...)}
		},
		Missing: func(t *testing.T) drivers.BusSpec {
			return gateway(Point{Metric: "net_rx_bytes", Interface: "none-such"},
				Point{Metric: "disk_free_bytes", Path: t.TempDir() + "/none"}, Point{Metric: "temp_c", Zone: "none-such"})
		},
		Mistakes: []drivertest.Mistake{
			{Level: drivertest.Point, YAML: "metric: cpu", Fields: []string{"metric"}},
			{Level: drivertest.Point, YAML: "path: /", Fields: []string{"metric"}},
			{Level: drivertest.Point, YAML: "metric: net_rx_bytes", Fields: []string{"interface"}},
			{Level: drivertest.Point, YAML: "metric: net_rx_bytes\ninterface: ../../etc\nzone: x", Fields: []string{"interface", "zone"}},
			{Level: drivertest.Point, YAML: "metric: temp_c\nzone: ..\npath: /", Fields: []string{"zone", "path"}},
			{Level: drivertest.Point, YAML: "metric: disk_free_bytes\npath: \"a\\0b\"", Fields: []string{"path"}},
		},
	})
}

func TestMetricsAreWhole(t *testing.T) {
	all := Metrics()
	if len(all) != len(metrics) || !slices.IsSortedFunc(all, func(a, b Metric) int { return cmp.Compare(a.Name, b.Name) }) {
		t.Errorf("%d metrics", len(all))
	}
	for _, m := range all {
		p := Point{Metric: m.Name}
		if m.Key == "interface" {
			p.Interface = "x"
		}
		if err := p.Validate(); err != nil || m.Summary == "" {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestCPUMeter(t *testing.T) {
	var m cpuMeter
	for i, c := range []struct {
		busy, total float64
		share       float64
		sinceBoot   bool
	}{
		{100, 1000, 10, true},
		{100, 1000, 10, true},  // no tick since
		{150, 1200, 25, false}, // 50 of 200
		{150, 1200, 25, false}, // no tick since: the last share holds
		{140, 1300, 0, false},  // corrected downwards
		{240, 1400, 100, false},
		{500, 1500, 100, false}, // more busy than there was time
		{501, 1800, .3, false},  // rounded to a tenth
	} {
		if share, boot := m.update(c.busy, c.total); share != c.share || boot != c.sinceBoot {
			t.Errorf("step %d: %v, %v, want %v, %v", i, share, boot, c.share, c.sinceBoot)
		}
	}
}
