package replay

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"tidemark/drivers"
)

// Bus is the driver's part of a bus in a profile.
type Bus struct {
	// File is the recording. A relative path starts at the folder that
	// SetBaseDir names, which is the profile's.
	File string `yaml:"file"`
	// Speed is 1 for the recorded speed, a factor of it from 0.001 to 1000000,
	// or "max" for as fast as the caller takes it. 1 if empty.
	Speed string `yaml:"speed"`
	// Loop starts over at the end, with times that go on.
	Loop bool `yaml:"loop"`
	// At is "now" for times of this machine's clock, as if the recording
	// happened now, or "recorded" for the times of the file. Empty is "now"
	// at speed 1, else "recorded". A sweep with times of now takes about 3 ms at
	// least, since they lie within its poll; faster ones go slower than recorded.
	At string `yaml:"at"`

	base string
}

// The values of Bus.At.
const (
	AtNow      = "now"
	AtRecorded = "recorded"
)

// SetBaseDir names the folder from which a relative File is looked for.
func (b *Bus) SetBaseDir(dir string) { b.base = dir }

// Path returns where the recording lies.
func (b *Bus) Path() string {
	if filepath.IsAbs(b.File) || b.base == "" {
		return b.File
	}
	return filepath.Join(b.base, b.File)
}

// Validate returns every mistake.
func (b *Bus) Validate() error {
	var errs []error
	if strings.TrimSpace(b.File) == "" {
		errs = append(errs, drivers.Fieldf("file", "name the recording, a CSV file of time,point,value"))
	}
	factor, err := b.factor()
	if err != nil {
		errs = append(errs, &drivers.FieldError{Field: "speed", Err: err})
	}
	switch b.At {
	case "", AtRecorded:
	case AtNow:
		if err == nil && factor == 0 {
			errs = append(errs, drivers.Fieldf("at", "%q needs a speed other than max, since times would run ahead of the clock", AtNow))
		}
	default:
		errs = append(errs, drivers.Fieldf("at", "%q is neither %q nor %q", b.At, AtNow, AtRecorded))
	}
	return errors.Join(errs...)
}

// factor returns how many recorded seconds pass in one second; 0 for max.
func (b *Bus) factor() (float64, error) {
	switch b.Speed {
	case "":
		return 1, nil
	case "max":
		return 0, nil
	}
	f, err := strconv.ParseFloat(b.Speed, 64)
	if err != nil || !(f >= 0.001 && f <= 1e6) {
		return 0, fmt.Errorf("%q is neither max nor a factor from 0.001 to 1000000", b.Speed)
	}
	return f, nil
}

// recorded says whether readings keep the times of the file.
func (b *Bus) recorded(factor float64) bool {
	if b.At == "" {
		return factor != 1
	}
	return b.At == AtRecorded
}

// Point is the driver's part of a point in a profile. Decimals, or Num, Den and
// Offset, tell how the recorded numbers came about, so that the wire can carry
// small integers; a number that they do not give exactly is carried as it is.
type Point struct {
	// Type is float, float32, int, bool or text; float if empty.
	Type string `yaml:"type"`
	// Decimals says that numbers have that many decimals: 0 to 15.
	Decimals *int `yaml:"decimals"`
	// Num, Den and Offset say that numbers are raw*num/den + offset of an integer
	// raw, in binary64 and in that order: 175, 65535 and -45 for an SHT31.
	Num    *float64 `yaml:"num"`
	Den    *float64 `yaml:"den"`
	Offset *float64 `yaml:"offset"`
}

// The kinds of values, with their parsers in value.go.
type kind uint8

const (
	kindFloat kind = iota
	kindFloat32
	kindInt
	kindBool
	kindText
)

var kinds = map[string]kind{"": kindFloat, "float": kindFloat, "float32": kindFloat32,
	"int": kindInt, "bool": kindBool, "text": kindText}

// Validate returns every mistake.
func (p *Point) Validate() error {
	var errs []error
	k, ok := kinds[p.Type]
	if !ok {
		errs = append(errs, drivers.Fieldf("type", "%q is none of float, float32, int, bool, text", p.Type))
	}
	linear := p.Num != nil || p.Den != nil || p.Offset != nil
	for _, h := range []struct {
		key string
		set bool
	}{{"decimals", p.Decimals != nil}, {"num", p.Num != nil}, {"den", p.Den != nil}, {"offset", p.Offset != nil}} {
		if h.set && ok && k != kindFloat {
			errs = append(errs, drivers.Fieldf(h.key, "only a point of type float has it"))
		}
	}
	if p.Decimals != nil {
		if *p.Decimals < 0 || *p.Decimals > 15 {
			errs = append(errs, drivers.Fieldf("decimals", "%d is outside 0 to 15", *p.Decimals))
		}
		if linear {
			errs = append(errs, drivers.Fieldf("decimals", "give either decimals or num, den and offset"))
		}
	}
	for _, n := range []struct {
		key  string
		f    *float64
		zero bool
	}{{"num", p.Num, false}, {"den", p.Den, false}, {"offset", p.Offset, true}} {
		if n.f != nil && (math.IsNaN(*n.f) || math.IsInf(*n.f, 0) || !n.zero && *n.f == 0) {
			errs = append(errs, drivers.Fieldf(n.key, "%v can't be used in raw*num/den + offset", *n.f))
		}
	}
	return errors.Join(errs...)
}

// scale returns the hint for the wire.
func (p *Point) scale() drivers.Scale {
	switch {
	case kinds[p.Type] == kindFloat32:
		return drivers.Scale{Float32: true}
	case p.Decimals != nil:
		return drivers.Scale{Num: 1, Den: math.Pow10(*p.Decimals)}
	case p.Num != nil || p.Den != nil || p.Offset != nil:
		return drivers.Scale{Num: or(p.Num, 1), Den: or(p.Den, 1), Offset: or(p.Offset, 0)}
	}
	return drivers.Scale{}
}

func or(f *float64, def float64) float64 {
	if f == nil {
		return def
	}
	return *f
}
