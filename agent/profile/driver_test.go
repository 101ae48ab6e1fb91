package profile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidemark/drivers"
)

// strictDriver has keys of its own at every level, and refuses in every way
// that a driver can.
func strictDriver() drivers.Driver {
	return drivers.Driver{Name: "strict", Version: "1", Summary: "a constant per point",
		Bus:    func() drivers.Config { return &strictBus{Baud: 9600} },
		Device: func() drivers.Config { return &strictDevice{} },
		Point:  func() drivers.Config { return &strictPoint{Type: "int"} },
		Open: func(b drivers.BusSpec) (drivers.Sensor, error) {
			s := &strictSensor{}
			taken := map[int]bool{}
			for _, d := range b.Devices {
				scan := drivers.ScanSpec{Device: d.Name, Interval: d.Interval}
				for _, p := range d.Points {
					c := p.Config.(*strictPoint)
					if taken[c.Reg] {
						return nil, fmt.Errorf("strict: register %d is used twice", c.Reg)
					}
					taken[c.Reg] = true
					types := map[string]drivers.Type{"int": drivers.Int, "text": drivers.Text}
					scan.Points = append(scan.Points, drivers.Point{Device: d.Name, Name: p.Name, Unit: p.Unit, Type: types[c.Type]})
				}
				scan.Groups = []int{len(scan.Points)}
				s.scans = append(s.scans, scan)
			}
			return s, nil
		}}
}

type strictBus struct {
	Port    string        `yaml:"port"`
	Baud    int           `yaml:"baud"`
	Timeout time.Duration `yaml:"timeout"`
	Rates   []float64     `yaml:"rates"`
	Line    struct {
		Bits   int  `yaml:"bits"`
		Parity bool `yaml:"parity"`
	} `yaml:"line"`
}

func (b *strictBus) Validate() error {
	var errs []error
	if b.Port == "" {
		errs = append(errs, drivers.Fieldf("port", "name the serial port"))
	}
	if !slices.Contains([]int{9600, 19200}, b.Baud) {
		errs = append(errs, drivers.Fieldf("baud", "%d is neither 9600 nor 19200", b.Baud))
	}
	if b.Line.Bits > 8 {
		errs = append(errs, fmt.Errorf("line: %w", drivers.Fieldf("line.bits", "%d is more than 8", b.Line.Bits)))
	}
	if b.Port == "/dev/null" {
		errs = append(errs, errors.New("this bus leads nowhere"))
	}
	return errors.Join(errs...)
}

type strictDevice struct {
	Unit int `yaml:"unit"`
}

func (d *strictDevice) Validate() error {
	if d.Unit > 247 {
		return drivers.Fieldf("unit", "%d is outside 0 to 247", d.Unit)
	}
	return nil
}

type strictPoint struct {
	Reg  int    `yaml:"reg"`
	Type string `yaml:"type"`
}

func (p *strictPoint) Validate() error {
	if p.Reg < 0 || p.Reg > 65535 {
		return drivers.Fieldf("reg", "there is no register %d", p.Reg)
	}
	if p.Type != "int" && p.Type != "text" {
		return drivers.Fieldf("type", "%q is neither int nor text", p.Type)
	}
	return nil
}

type strictSensor struct{ scans []drivers.ScanSpec }

func (s *strictSensor) Scans() []drivers.ScanSpec { return s.scans }

func (s *strictSensor) Read(_ context.Context, i int, sc *drivers.Scan) error {
	for k, p := range s.scans[i].Points {
		if p.Type == drivers.Text {
			sc.Set(k, drivers.TextValue("constant"))
		} else {
			sc.Set(k, drivers.IntValue(1))
		}
	}
	sc.Times[0] = time.Now()
	return nil
}

func (s *strictSensor) Close() error { return nil }
