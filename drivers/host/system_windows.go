package host

import (
	"fmt"
	"io/fs"
	"math"
	"net"

	"golang.org/x/sys/windows"

	"tidemark/drivers"
)

// system reads a Windows.
type system struct{}

func newSystem() system { return system{} }

func (*system) begin() {}

func (s *system) read(p *Point, _ *cpuMeter) (drivers.Value, error) {
	switch metrics[p.Metric].Key {
	case "path":
		return s.disk(p)
	case "interface":
		return s.network(p)
	}
	if p.Metric == "uptime_s" {
		return drivers.FloatValue(math.Round(windows.DurationSinceBoot().Seconds()*100) / 100), nil
	}
	return drivers.Value{}, errUnsupported
}

// disk asks GetDiskFreeSpaceExW.
func (*system) disk(p *Point) (drivers.Value, error) {
	path := p.Path
	if path == "" {
		path = `C:\`
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return drivers.Value{}, fmt.Errorf("host: disk %s: %w", path, err)
	}
	var available, total, free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &available, &total, &free); err != nil {
		return drivers.Value{}, fmt.Errorf("host: disk %s: %w", path, err)
	}
	if p.Metric == "disk_free_bytes" {
		return drivers.IntValue(int64(min(available, math.MaxInt64))), nil
	}
	used := float64(total) - float64(free)
	if used+float64(available) <= 0 {
		return drivers.Value{}, fmt.Errorf("%w: %s has no size", errUnsupported, path)
	}
	return drivers.FloatValue(pct(used, used+float64(available))), nil
}

// network asks GetIfEntry2Ex for an interface by its alias, as "Ethernet 2".
func (*system) network(p *Point) (drivers.Value, error) {
	i, err := net.InterfaceByName(p.Interface)
	if err != nil {
		return drivers.Value{}, fmt.Errorf("host: interface %s: %w: %w", p.Interface, fs.ErrNotExist, err)
	}
	row := windows.MibIfRow2{InterfaceIndex: uint32(i.Index)}
	if err := windows.GetIfEntry2Ex(windows.MibIfEntryNormal, &row); err != nil {
		return drivers.Value{}, fmt.Errorf("host: interface %s: %w", p.Interface, err)
	}
	switch p.Metric {
	case "net_rx_bytes":
		return counter(row.InOctets), nil
	case "net_tx_bytes":
		return counter(row.OutOctets), nil
	case "net_rx_errors":
		return counter(row.InErrors), nil
	case "net_tx_errors":
		return counter(row.OutErrors), nil
	}
	return drivers.Value{}, errUnsupported
}
