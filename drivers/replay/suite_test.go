package replay_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/drivers"
	"tidemark/drivers/drivertest"
	"tidemark/drivers/replay"
)

func TestContract(t *testing.T) {
	drivertest.Run(t, drivertest.Subject{
		Driver: replay.Driver(),
		Start:  start,
		Missing: func(t *testing.T) drivers.BusSpec {
			return spec(filepath.Join(t.TempDir(), "missing.csv"))
		},
		Mistakes: []drivertest.Mistake{
			{Level: drivertest.Bus, YAML: "speed: fast\nat: noon", Fields: []string{"file", "speed", "at"}},
			{Level: drivertest.Bus, YAML: "file: a.csv\nspeed: max\nat: now", Fields: []string{"at"}},
			{Level: drivertest.Bus, YAML: "file: a.csv\nspeed: 0", Fields: []string{"speed"}},
			{Level: drivertest.Bus, YAML: "file: a.csv\nspeed: .nan", Fields: []string{"speed"}},
			{Level: drivertest.Point, YAML: "type: double", Fields: []string{"type"}},
			{Level: drivertest.Point, YAML: "decimals: 16", Fields: []string{"decimals"}},
			{Level: drivertest.Point, YAML: "type: int\ndecimals: 1\nden: 2", Fields: []string{"decimals", "den"}},
			{Level: drivertest.Point, YAML: "num: 0\nden: 0\noffset: .inf", Fields: []string{"num", "den", "offset"}},
		},
	})
}

func spec(file string) drivers.BusSpec {
	one := 1
	return drivers.BusSpec{Name: "b", Config: &replay.Bus{File: file, Loop: true},
		Devices: []drivers.DeviceSpec{
			{Name: "boiler", Interval: time.Second, Points: []drivers.PointSpec{
				{Name: "temp_c", Unit: "Cel", Config: &replay.Point{Decimals: &one}},
				{Name: "starts", Config: &replay.Point{Type: "int"}}}},
			{Name: "pump", Interval: time.Second, Points: []drivers.PointSpec{
				{Name: "on", Config: &replay.Point{Type: "bool"}},
				{Name: "flow", Config: &replay.Point{Type: "float32"}},
				{Name: "label", Config: &replay.Point{Type: "text"}}}},
		}}
}

// start records a plant at 20 sweeps a second.
func start(t *testing.T) drivertest.Rig {
	var b strings.Builder
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 4 {
		for i, row := range []string{"boiler.temp_c,71.3", "boiler.starts,412", "pump.on,true", "pump.flow,12.7", "pump.label,P-1"} {
			fmt.Fprintf(&b, "%s,%s\n", at.Add(time.Duration(i)*2*time.Millisecond).Format("2006-01-02T15:04:05.000Z"), row)
		}
		at = at.Add(50 * time.Millisecond)
	}
	file := filepath.Join(t.TempDir(), "plant.csv")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	move := func(from, to string) func() {
		return func() {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	return drivertest.Rig{
		Bus:     spec(file),
		Break:   move(file, file+".away"),
		Restore: move(file+".away", file),
		Want: map[string]drivers.Value{
			"boiler.temp_c": drivers.FloatValue(71.3), "boiler.starts": drivers.IntValue(412), "pump.on": drivers.BoolValue(true),
			"pump.flow": drivers.FloatValue(float64(float32(12.7))), "pump.label": drivers.TextValue("P-1"),
		},
	}
}
