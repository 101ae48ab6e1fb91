package drivertest

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"time"

	"tidemark/drivers"
)

// The rules of the contract as functions, so that the suite's own test can
// show that each of them catches what it is for.

var (
	nameForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	reasonForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// CheckScans returns every way in which scans break the contract, for a bus.
func CheckScans(bus drivers.BusSpec, scans []drivers.ScanSpec) error {
	var errs []error
	if len(scans) == 0 {
		errs = append(errs, errors.New("there are no scans"))
	}
	seen := map[string]int{}
	for i := range scans {
		errs = append(errs, checkScan(bus, i, &scans[i], seen)...)
	}
	for _, d := range bus.Devices {
		for _, p := range d.Points {
			if name := d.Name + "." + p.Name; seen[name] == 0 {
				errs = append(errs, fmt.Errorf("point %s of the profile is in no scan", name))
			}
		}
	}
	return errors.Join(errs...)
}

func checkScan(bus drivers.BusSpec, i int, s *drivers.ScanSpec, seen map[string]int) (errs []error) {
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("scan %d: "+format, append([]any{i}, args...)...))
	}
	sum := 0
	for _, g := range s.Groups {
		if g <= 0 {
			bad("a group of %d points", g)
		}
		sum += g
	}
	if sum != len(s.Points) {
		bad("the groups add up to %d, but there are %d points", sum, len(s.Points))
	}
	if len(s.Points) == 0 {
		bad("it has no points")
	}
	if s.Interval < 0 {
		bad("a negative interval")
	}
	d := device(bus, s.Device)
	if d != nil && s.Interval != 0 && s.Interval != d.Interval {
		bad("its interval is %v, but the profile says %v for device %s", s.Interval, d.Interval, d.Name)
	}
	for _, p := range s.Points {
		name := p.Device + "." + p.Name
		if seen[name]++; seen[name] == 2 {
			bad("point %s occurs twice", name)
		}
		for _, err := range checkPoint(bus, s, p) {
			bad("point %s: %w", name, err)
		}
	}
	return errs
}

func checkPoint(bus drivers.BusSpec, s *drivers.ScanSpec, p drivers.Point) (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !nameForm.MatchString(p.Device) || !nameForm.MatchString(p.Name) {
		bad("its name is not made of lower-case letters, digits, - and _")
	}
	if s.Device != "" && p.Device != s.Device {
		bad("it is not of the scan's device %s", s.Device)
	}
	if p.Type > drivers.Text {
		bad("type %d does not exist", p.Type)
	}
	if p.Scale != (drivers.Scale{}) {
		switch {
		case p.Type != drivers.Float:
			bad("only Float points have a scale")
		case p.Scale.Float32 && p.Scale != (drivers.Scale{Float32: true}):
			bad("a Float32 scale with other fields set")
		case !p.Scale.Float32 && (p.Scale.Den == 0 || p.Scale.Num == 0):
			bad("a scale with Num or Den 0")
		}
	}
	if d := device(bus, p.Device); d != nil {
		for _, want := range d.Points {
			if want.Name == p.Name && want.Unit != "" && want.Unit != p.Unit {
				bad("its unit is %q, but the profile says %q", p.Unit, want.Unit)
			}
		}
	}
	return errs
}

func device(bus drivers.BusSpec, name string) *drivers.DeviceSpec {
	i := slices.IndexFunc(bus.Devices, func(d drivers.DeviceSpec) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	return &bus.Devices[i]
}

// CheckScan returns every way in which the outcome of a Read that took from
// before to after and returned no error breaks the contract.
func CheckScan(spec *drivers.ScanSpec, s *drivers.Scan, before, after time.Time) error {
	if len(s.Readings) != len(spec.Points) || len(s.Times) != len(spec.Groups) {
		return fmt.Errorf("the scan's size was changed to %d readings and %d times", len(s.Readings), len(s.Times))
	}
	var errs []error
	for i, r := range s.Readings {
		if err := checkReading(spec, i, r); err != nil {
			errs = append(errs, fmt.Errorf("point %s.%s: %w", spec.Points[i].Device, spec.Points[i].Name, err))
		}
	}
	if !spec.Recorded {
		errs = append(errs, checkTimes(spec, s, before, after)...)
	}
	return errors.Join(errs...)
}

func checkReading(spec *drivers.ScanSpec, i int, r drivers.Reading) error {
	switch r.Quality {
	case drivers.NotRead:
		if spec.Interval != 0 {
			return errors.New("a scheduled poll left it out")
		}
	case drivers.Good:
		if r.Reason != "" {
			return fmt.Errorf("a good reading with the reason %q", r.Reason)
		}
	case drivers.Uncertain, drivers.Bad:
		if !reasonForm.MatchString(r.Reason) {
			return fmt.Errorf("the reason %q is not a short machine-readable word", r.Reason)
		}
	default:
		return fmt.Errorf("quality %d does not exist", r.Quality)
	}
	carries := r.Quality == drivers.Good || r.Quality == drivers.Uncertain
	if !carries && r.Value != (drivers.Value{}) {
		return errors.New("it was not read, but carries a value")
	}
	if carries && r.Value.Type() != spec.Points[i].Type {
		return fmt.Errorf("its value has type %d, but the scan says %d", r.Value.Type(), spec.Points[i].Type)
	}
	return nil
}

func checkTimes(spec *drivers.ScanSpec, s *drivers.Scan, before, after time.Time) (errs []error) {
	last, point := before, 0
	for g, t := range s.Times {
		read := slices.ContainsFunc(s.Readings[point:point+spec.Groups[g]],
			func(r drivers.Reading) bool { return r.Quality != drivers.NotRead })
		point += spec.Groups[g]
		switch {
		case t.IsZero() && read:
			errs = append(errs, fmt.Errorf("group %d has no time", g))
		case t.IsZero():
		case t.Before(before) || t.After(after):
			errs = append(errs, fmt.Errorf("group %d has a time outside the poll: %v is not in %v to %v", g, t, before, after))
		case t.Before(last):
			errs = append(errs, fmt.Errorf("group %d is earlier than the one before it", g))
		default:
			last = t
		}
	}
	return errs
}

// CheckConfig returns every way in which a level's configuration breaks the contract.
func CheckConfig(level Level, fresh func() drivers.Config) error {
	a, b := reflect.ValueOf(fresh()), reflect.ValueOf(fresh())
	if a.Kind() != reflect.Pointer || a.IsNil() || a.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("%s: the configuration is a %v, not a pointer to a struct", level, a.Type())
	}
	var errs []error
	if a.Pointer() == b.Pointer() && a.Elem().Type().Size() > 0 {
		errs = append(errs, fmt.Errorf("%s: two calls return the same struct", level))
	}
	for _, f := range reflect.VisibleFields(a.Elem().Type()) {
		if f.IsExported() && f.Tag.Get("yaml") == "" {
			errs = append(errs, fmt.Errorf("%s: field %s has no yaml tag", level, f.Name))
		}
	}
	return errors.Join(errs...)
}

// CheckMistakes returns an error for every field that err should name and does not.
func CheckMistakes(err error, fields []string) error {
	if err == nil {
		return errors.New("it was accepted")
	}
	named := map[string]bool{}
	collect(err, named)
	var errs []error
	for _, f := range fields {
		if !named[f] {
			errs = append(errs, fmt.Errorf("no FieldError names %q; the errors are: %w", f, err))
		}
	}
	return errors.Join(errs...)
}

func collect(err error, named map[string]bool) {
	switch e := err.(type) { //nolint:errorlint // it walks the tree of errors itself, to see every branch
	case *drivers.FieldError:
		named[e.Field] = e.Err != nil && e.Err.Error() != ""
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			collect(one, named)
		}
	case interface{ Unwrap() error }:
		collect(e.Unwrap(), named)
	}
}
