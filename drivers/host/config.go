package host

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tidemark/drivers"
)

// Point is the driver's part of a point in a profile.
type Point struct {
	// Metric is the name of one of Metrics.
	Metric string `yaml:"metric"`
	// Path is a folder on the disk that a disk_ metric is about; / if empty,
	// on Windows C:\.
	Path string `yaml:"path"`
	// Interface is the network interface that a net_ metric is about.
	Interface string `yaml:"interface"`
	// Zone is the thermal zone of temp_c: its folder, as thermal_zone1, or its
	// type, as cpu-thermal; thermal_zone0 if empty.
	Zone string `yaml:"zone"`
}

// maxName is the longest path, interface or zone in bytes.
const maxName = 255

// Validate returns every mistake.
func (p *Point) Validate() error {
	var errs []error
	m, ok := metrics[p.Metric]
	if !ok {
		errs = append(errs, drivers.Fieldf("metric", "%q is no metric of a gateway; those are %s", p.Metric,
			strings.Join(slices.Sorted(maps.Keys(metrics)), ", ")))
	}
	for _, k := range []struct{ key, value string }{{"path", p.Path}, {"interface", p.Interface}, {"zone", p.Zone}} {
		switch {
		case k.value == "" && k.key == "interface" && ok && m.Key == k.key:
			errs = append(errs, drivers.Fieldf(k.key, "name the network interface, such as eth0"))
		case k.value == "":
		case ok && m.Key != k.key:
			errs = append(errs, drivers.Fieldf(k.key, "%s has no %s", p.Metric, k.key))
		case len(k.value) > maxName || strings.ContainsRune(k.value, 0):
			errs = append(errs, drivers.Fieldf(k.key, "this is no name of a %s", k.key))
		case k.key != "path" && (strings.ContainsAny(k.value, `/\`) || k.value == "." || k.value == ".."):
			errs = append(errs, drivers.Fieldf(k.key, "%q is no name of one", k.value))
		}
	}
	return errors.Join(errs...)
}

// Driver describes the driver to the registry.
func Driver() drivers.Driver {
	return drivers.Driver{
		Name:    "host",
		Version: "1",
		Summary: "the gateway itself: processor, memory, disks, temperatures, network",
		Point:   func() drivers.Config { return &Point{} },
		Open:    func(b drivers.BusSpec) (drivers.Sensor, error) { return Open(b) },
	}
}

// Open makes a sensor of the gateway.
func Open(b drivers.BusSpec) (*Sensor, error) {
	s := &Sensor{system: newSystem()}
	for _, d := range b.Devices {
		spec := drivers.ScanSpec{Device: d.Name, Interval: d.Interval, Groups: []int{len(d.Points)}}
		var points []*Point
		for _, p := range d.Points {
			cfg, ok := p.Config.(*Point)
			if !ok {
				return nil, fmt.Errorf("host: bus %s: point %s.%s: its configuration is a %T", b.Name, d.Name, p.Name, p.Config)
			}
			if err := cfg.Validate(); err != nil {
				return nil, fmt.Errorf("host: bus %s: point %s.%s: %w", b.Name, d.Name, p.Name, err)
			}
			m := metrics[cfg.Metric]
			unit := p.Unit
			if unit == "" {
				unit = m.Unit
			}
			spec.Points = append(spec.Points, drivers.Point{Device: d.Name, Name: p.Name, Unit: unit, Type: m.Type, Scale: m.Scale})
			points = append(points, cfg)
		}
		if len(points) == 0 {
			return nil, fmt.Errorf("host: bus %s: device %s has no points", b.Name, d.Name)
		}
		s.specs = append(s.specs, spec)
		s.polls = append(s.polls, &poll{points: points})
	}
	if len(s.specs) == 0 {
		return nil, fmt.Errorf("host: bus %s has no devices", b.Name)
	}
	return s, nil
}
