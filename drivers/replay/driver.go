package replay

import (
	"fmt"
	"time"

	"tidemark/drivers"
)

// Driver describes the driver to the registry.
func Driver() drivers.Driver {
	return drivers.Driver{
		Name:    "replay",
		Version: "1",
		Summary: "recorded readings from a CSV file of time,point,value",
		Bus:     func() drivers.Config { return &Bus{} },
		Point:   func() drivers.Config { return &Point{} },
		Open:    func(b drivers.BusSpec) (drivers.Sensor, error) { return Open(b) },
	}
}

// Open makes a sensor that replays a recording. It does not touch the file.
func Open(b drivers.BusSpec) (*Sensor, error) {
	cfg, ok := b.Config.(*Bus)
	if !ok {
		return nil, fmt.Errorf("replay: bus %s: its configuration is a %T", b.Name, b.Config)
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("replay: bus %s: %w", b.Name, err)
	}
	s := &Sensor{done: make(chan struct{}), rows: rows{index: map[string]int{}}}
	s.lines.path, s.lines.line = cfg.Path(), 1
	s.factor, _ = cfg.factor() // Validate had no complaint
	s.spec.Recorded = cfg.recorded(s.factor)
	s.loop = cfg.Loop
	for _, d := range b.Devices {
		for _, p := range d.Points {
			if err := s.add(d.Name, p); err != nil {
				return nil, fmt.Errorf("replay: bus %s: %w", b.Name, err)
			}
		}
	}
	if len(s.rows.names) == 0 {
		return nil, fmt.Errorf("replay: bus %s lists no points", b.Name)
	}
	s.texts = make([]string, len(s.kinds))
	return s, nil
}

func (s *Sensor) add(device string, p drivers.PointSpec) error {
	name := device + "." + p.Name
	cfg, ok := p.Config.(*Point)
	if !ok {
		return fmt.Errorf("point %s: its configuration is a %T", name, p.Config)
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("point %s: %w", name, err)
	}
	if _, dup := s.rows.index[name]; dup {
		return fmt.Errorf("point %s stands there twice", name)
	}
	k := kinds[cfg.Type]
	s.rows.index[name] = len(s.rows.names)
	s.rows.names = append(s.rows.names, name)
	s.kinds = append(s.kinds, k)
	s.spec.Points = append(s.spec.Points, drivers.Point{Device: device, Name: p.Name, Unit: p.Unit,
		Type: types[k], Scale: cfg.scale()})
	s.spec.Groups = append(s.spec.Groups, 1) // a row has a time of its own
	return nil
}

var types = [...]drivers.Type{kindFloat: drivers.Float, kindFloat32: drivers.Float,
	kindInt: drivers.Int, kindBool: drivers.Bool, kindText: drivers.Text}

// Stats counts what a replay met.
type Stats struct {
	Rows     uint64 // rows read, without the heading and empty ones
	Unlisted uint64 // rows of points that the profile does not list
	Bad      uint64 // rows that could not be used
	Loops    uint64 // times that the recording started over
	// Errors are the first MaxErrors mistakes, each a *RowError.
	Errors []error
}

// MaxErrors is how many mistakes Stats tells in full; all are counted.
const MaxErrors = 16

// Stats returns what the replay met so far. Like Read, it belongs to the
// goroutine that owns the bus.
func (s *Sensor) Stats() Stats { return s.stats }

const (
	// MaxSpan is the longest time between the first and the last row of a sweep.
	MaxSpan = time.Second
	// retryAfter is the least time between two polls after one that failed.
	retryAfter = time.Second
	// maxLag is how late a paced replay may get before it goes on from the
	// present instead of catching up: after a suspend, or a caller that blocked.
	maxLag = 10 * time.Second
)
