package drivertest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tidemark/drivers"
)

// The suite is only worth what it catches: each rule is shown one offender.

func fine() (drivers.BusSpec, []drivers.ScanSpec) {
	bus := drivers.BusSpec{Name: "b", Devices: []drivers.DeviceSpec{{
		Name: "d", Interval: time.Second,
		Points: []drivers.PointSpec{{Name: "p", Unit: "Cel"}, {Name: "q"}},
	}}}
	scans := []drivers.ScanSpec{{
		Device: "d", Interval: time.Second, Groups: []int{1, 1},
		Points: []drivers.Point{
			{Device: "d", Name: "p", Unit: "Cel", Type: drivers.Float, Scale: drivers.Scale{Num: 1, Den: 10}},
			{Device: "d", Name: "q", Type: drivers.Int},
		},
	}}
	return bus, scans
}

func TestCheckScans(t *testing.T) {
	bus, scans := fine()
	if err := CheckScans(bus, scans); err != nil {
		t.Fatalf("a right scan: %v", err)
	}
	for _, c := range []struct {
		spoil func(*drivers.ScanSpec)
		want  string
	}{
		{func(s *drivers.ScanSpec) { s.Groups = []int{1} }, "add up to 1"},
		{func(s *drivers.ScanSpec) { s.Groups = []int{2, 0} }, "a group of 0"},
		{func(s *drivers.ScanSpec) { s.Interval = 2 * time.Second }, "the profile says 1s"},
		{func(s *drivers.ScanSpec) { s.Points[1].Name = "p" }, "occurs twice"},
		{func(s *drivers.ScanSpec) { s.Points[1].Name = "r" }, "point d.q of the profile is in no scan"},
		{func(s *drivers.ScanSpec) { s.Points[0].Unit = "" }, `the profile says "Cel"`},
		{func(s *drivers.ScanSpec) { s.Points[1].Name = "Q q" }, "not made of lower-case"},
		{func(s *drivers.ScanSpec) { s.Points[1].Device = "e" }, "not of the scan's device"},
		{func(s *drivers.ScanSpec) { s.Points[1].Type = 9 }, "type 9"},
		{func(s *drivers.ScanSpec) { s.Points[1].Scale = drivers.Scale{Num: 1, Den: 1} }, "only Float"},
		{func(s *drivers.ScanSpec) { s.Points[0].Scale.Den = 0 }, "Den 0"},
		{func(s *drivers.ScanSpec) { s.Points[0].Scale.Float32 = true }, "other fields"},
	} {
		bus, scans := fine()
		c.spoil(&scans[0])
		wantError(t, CheckScans(bus, scans), c.want)
	}
	wantError(t, CheckScans(bus, nil), "no scans")
}

func TestCheckScan(t *testing.T) {
	_, scans := fine()
	spec := &scans[0]
	before := time.Now()
	after := before.Add(time.Second)
	right := func() *drivers.Scan {
		var s drivers.Scan
		s.Reset(spec)
		s.Times[0], s.Times[1] = before.Add(1), before.Add(2)
		s.Set(0, drivers.FloatValue(71.3))
		s.Fail(1, drivers.ReasonTimeout)
		return &s
	}
	if err := CheckScan(spec, right(), before, after); err != nil {
		t.Fatalf("a right outcome: %v", err)
	}
	for _, c := range []struct {
		spoil func(*drivers.Scan)
		want  string
	}{
		{func(s *drivers.Scan) { s.Readings[1].Value = drivers.IntValue(1) }, "carries a value"},
		{func(s *drivers.Scan) { s.Fail(1, "No answer!") }, "machine-readable"},
		{func(s *drivers.Scan) { s.Fail(1, "") }, "machine-readable"},
		{func(s *drivers.Scan) { s.Set(0, drivers.IntValue(71)) }, "has type 1"},
		{func(s *drivers.Scan) { s.Readings[0].Reason = "x" }, "good reading with the reason"},
		{func(s *drivers.Scan) { s.Readings[0] = drivers.Reading{} }, "left it out"},
		{func(s *drivers.Scan) { s.Readings[0].Quality = 9 }, "quality 9"},
		{func(s *drivers.Scan) { s.Readings = s.Readings[:1] }, "scan's size was changed"},
		{func(s *drivers.Scan) { s.Times[0] = time.Time{} }, "group 0 has no time"},
		{func(s *drivers.Scan) { s.Times[1] = before }, "earlier than the one before"},
		{func(s *drivers.Scan) { s.Times[1] = after.Add(1) }, "outside the poll"},
	} {
		s := right()
		c.spoil(s)
		wantError(t, CheckScan(spec, s, before, after), c.want)
	}
}

type config struct {
	Port string `yaml:"port"`
	Baud int
}

func (*config) Validate() error { return nil }

func TestCheckConfig(t *testing.T) {
	wantError(t, CheckConfig(Bus, func() drivers.Config { return &config{} }), "field Baud has no yaml tag")
	one := &config{}
	wantError(t, CheckConfig(Bus, func() drivers.Config { return one }), "the same struct")
}

func TestCheckMistakes(t *testing.T) {
	err := errors.Join(drivers.Fieldf("port", "is missing"), drivers.Fieldf("baud", "is 0"))
	if err := CheckMistakes(err, []string{"port", "baud"}); err != nil {
		t.Fatal(err)
	}
	wantError(t, CheckMistakes(err, []string{"port", "parity"}), `no FieldError names "parity"`)
	wantError(t, CheckMistakes(nil, []string{"port"}), "accepted")
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}
