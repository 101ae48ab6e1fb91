package modbus

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"tidemark/drivers"
)

// Each mistake is refused at its key, in words that say what would be right.
func TestMistakesInAPoint(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                                     "holding: is missing",
		"holding: 1\ninput: 1":                   "holding: a point is one register: leave only one of input, holding",
		"holding: 65536":                         "holding: address 65536 is not between 0 and 65535",
		"holding: 40101\ntype: string":           `type: "string" is not one of uint16`,
		"coil: -1":                               "coil: address -1",
		"holding: 65535\ntype: uint32":           "holding: uint32 at 65535 needs 2 registers, but the last one is 65535",
		"input: 65533\ntype: float64":            "input: float64 at 65533 needs 4 registers",
		"coil: 1\ntype: uint16":                  "type: a coil is one bit",
		"discrete: 1\nbit: 1":                    "bit: a discrete is one bit",
		"coil: 1\nbits: 0-1":                     "bits: a coil is one bit",
		"coil: 1\nbyte_order: big":               "byte_order: a coil is one bit",
		"coil: 1\nscale: 2":                      "scale: a yes-or-no value",
		"holding: 1\nbit: 16":                    "bit: bit 16 is outside uint16, whose bits are 0 to 15",
		"holding: 1\nbit: -1":                    "bit: bit",
		"holding: 1\ntype: uint32\nbits: 4-32":   "bits: bit 32 is outside uint32, whose bits are 0 to 31",
		"holding: 1\nbits: 7-4":                  "bits: \"7-4\" is not of the form low-high",
		"holding: 1\nbits: some":                 "is not of the form low-high",
		"holding: 1\nbit: 1\nbits: 2-3":          "bits: a point is one field",
		"holding: 1\ntype: float32\nbit: 3":      "bit: float32 has no bit fields",
		"holding: 1\ntype: int16\nbits: 0-3":     "bits: int16 has no bit fields",
		"holding: 1\ntype: bool\nscale: 2":       "scale: a yes-or-no value",
		"holding: 1\nscale: 0":                   "scale: 0 does not work",
		"holding: 1\nscale: .inf":                "scale: +Inf does not work",
		"holding: 1\noffset: .nan":               "offset: NaN does not work",
		"holding: 1\nword_order: middle":         `word_order: "middle" is not big or little`,
		"holding: 1\nno_value: 65536":            "no_value: 65536 is no raw value of 16 bits",
		"holding: 1\nno_value: -1":               "no_value: -1 is no raw value",
		"holding: 1\ntype: float32\nno_value: 1": "no_value: float32 has NaN for that",
	} {
		c := newPoint()
		if err := yaml.Load([]byte(text), c, yaml.WithKnownFields()); err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestMistakesInABus(t *testing.T) {
	one := func(unit int, points ...string) drivers.DeviceSpec {
		d := drivers.DeviceSpec{Name: "d", Interval: time.Second, Config: newDevice()}
		d.Config.(*DeviceConfig).Unit = &unit
		for i, text := range points {
			c := newPoint()
			if err := yaml.Load([]byte(text), c); err != nil {
				t.Fatal(err)
			}
			d.Points = append(d.Points, drivers.PointSpec{Name: fmt.Sprintf("p%d", i), Config: c})
		}
		return d
	}
	few := one(1, "holding: 0\ntype: uint32")
	few.Config.(*DeviceConfig).MaxRegisters = 1
	for name, c := range map[string]struct {
		tcp     string
		devices []drivers.DeviceSpec
		want    string
	}{
		"no devices":      {"", nil, "no devices"},
		"no points":       {"", []drivers.DeviceSpec{one(1)}, "device d: it has no points"},
		"broadcast":       {"", []drivers.DeviceSpec{one(0, "holding: 0")}, "unit: 0 has no meaning on a serial line"},
		"unit 255":        {"", []drivers.DeviceSpec{one(255, "holding: 0")}, "unit: 255 has no meaning"},
		"unit 255 on tcp": {"h:1", []drivers.DeviceSpec{one(255, "holding: 0")}, ""},
		"unit 248":        {"h:1", []drivers.DeviceSpec{one(248, "holding: 0")}, "248 is not a slave's address"},
		"same point":      {"", []drivers.DeviceSpec{one(1, "holding: 0", "holding: 0\ntype: uint16")}, "points p0 and p1 are the same: both read holding 0"},
		"other bit":       {"", []drivers.DeviceSpec{one(1, "holding: 0\nbit: 1", "holding: 0\nbit: 2")}, ""},
		"too few at once": {"", []drivers.DeviceSpec{few}, "needs 2 registers, but max_registers is 1"},
		"both":            {"", []drivers.DeviceSpec{one(0, "holding: 0"), one(1)}, "it has no points"},
	} {
		bus := newBus().(*BusConfig)
		if bus.TCP = c.tcp; c.tcp == "" {
			bus.Port = "/dev/ttyUSB0"
		}
		s, err := Driver().Open(drivers.BusSpec{Name: "b", Config: bus, Devices: c.devices})
		switch {
		case err == nil:
			s.Close()
			if c.want != "" {
				t.Errorf("%s was accepted", name)
			}
		case c.want == "" || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// A decimal scale gives the double that a person would write down.
func TestFraction(t *testing.T) {
	for f, want := range map[float64][2]float64{
		0.1: {1, 10}, 0.01: {1, 100}, 0.25: {1, 4}, -0.5: {-1, 2}, 10: {10, 1}, 1: {1, 1}, 1.5: {3, 2}, 1e-15: {1, 1e15},
		1.0 / 3: {1.0 / 3, 1}, 1e-20: {1e-20, 1}, 1e300: {1e300, 1}, 0.0001220703125: {1, 8192},
	} {
		if n, d := fraction(f); n != want[0] || d != want[1] {
			t.Errorf("%v is %v/%v, want %v/%v", f, n, d, want[0], want[1])
		}
	}
	n, d := fraction(0.1)
	for raw := -40000; raw <= 40000; raw++ {
		want, err := strconv.ParseFloat(strconv.Itoa(raw)+"e-1", 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(raw) * n / d; math.Float64bits(got) != math.Float64bits(want) && raw != 0 {
			t.Fatalf("%d * 0.1 gives %v, want %v", raw, got, want)
		}
	}
}

func TestPlan(t *testing.T) {
	for name, c := range map[string]struct {
		device string
		points []string
		want   string
	}{
		"neighbours":  {"unit: 1", []string{"holding: 1", "holding: 0", "holding: 2\ntype: float32"}, "holding 0 to 3"},
		"gap":         {"unit: 1\nmax_gap: 2", []string{"holding: 0", "holding: 3", "holding: 7"}, "holding 0 to 3; holding 7 to 7"},
		"no gap":      {"unit: 1\nmax_gap: 0", []string{"holding: 0", "holding: 1", "holding: 3"}, "holding 0 to 1; holding 3 to 3"},
		"kinds":       {"unit: 1", []string{"holding: 0", "input: 0", "coil: 0", "discrete: 0"}, "coil 0 to 0; discrete 0 to 0; holding 0 to 0; input 0 to 0"},
		"limit":       {"unit: 1\nmax_registers: 3", []string{"input: 0", "input: 1\ntype: uint32", "input: 2", "input: 3\ntype: int32"}, "input 0 to 2; input 3 to 4"},
		"whole value": {"unit: 1\nmax_registers: 4", []string{"input: 0", "input: 2\ntype: uint64"}, "input 0 to 0; input 2 to 5"},
		"overlap":     {"unit: 1\nmax_gap: 0", []string{"input: 0\ntype: uint64", "input: 1", "input: 4"}, "input 0 to 4"},
		"coils":       {"unit: 1\nmax_gap: 1", []string{"coil: 0", "coil: 17", "coil: 35"}, "coil 0 to 17; coil 35 to 35"},
		"many coils":  {"unit: 1\nmax_gap: 124\nmax_coils: 2000", []string{"coil: 0", "coil: 1900", "coil: 1999", "coil: 2000"}, "coil 0 to 1999; coil 2000 to 2000"},
		"the end":     {"unit: 1", []string{"holding: 65532\ntype: uint64", "holding: 65535"}, "holding 65532 to 65535"},
	} {
		device := newDevice().(*DeviceConfig)
		if err := yaml.Load([]byte(c.device), device); err != nil {
			t.Fatal(err)
		}
		var points []point
		for _, text := range c.points {
			pc := newPoint().(*PointConfig)
			if err := yaml.Load([]byte(text), pc); err != nil {
				t.Fatal(err)
			}
			p, err := pc.compile(device)
			if err != nil {
				t.Fatal(err)
			}
			points = append(points, p)
		}
		var ordered []point
		for _, i := range order(points) {
			ordered = append(ordered, points[i])
		}
		var got []string
		served := 0
		for _, r := range plan(ordered, device) {
			_, text, _ := strings.Cut(r.question(1).String(), ", ")
			got = append(got, text)
			served += len(r.points)
		}
		if s := strings.Join(got, "; "); s != c.want || served != len(points) {
			t.Errorf("%s: %s for %d points, want %s", name, s, served, c.want)
		}
	}
}

// A rest grows up to its limit, and an answer ends it.
func TestBreaker(t *testing.T) {
	var b breaker
	now := time.Unix(0, 0)
	for i := range tripAfter {
		if b.open(now) || b.probing() {
			t.Fatalf("open after %d failures", i)
		}
		b.failed(now, errors.New("silent"))
	}
	for rest := restMin; ; rest = min(2*rest, restMax) {
		if !b.open(now.Add(rest-1)) || b.open(now.Add(rest)) || !b.probing() {
			t.Fatalf("a rest of %v is not kept", rest)
		}
		if now = now.Add(rest); rest == restMax {
			break
		}
		b.failed(now, errors.New("silent"))
	}
	if !b.answered() || b.open(now) || b.probing() {
		t.Error("an answer did not end the rest")
	}
}
