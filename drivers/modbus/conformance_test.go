//go:build linux

package modbus

import (
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"tidemark/drivers"
	"tidemark/drivers/drivertest"
)

// known are the points of the standard map, with their registers and the value
// that they must give. Registers are written here as the manuals of devices
// write them, by hand, and not by a codec of ours.
var known = []struct {
	name, config string
	kind         string
	address      int
	registers    []uint16
	want         drivers.Value
}{
	{"flow_temp", "holding: 100\ntype: int16\nscale: 0.1", "holding", 100, []uint16{713}, drivers.FloatValue(71.3)},
	{"outside_temp", "holding: 101\ntype: int16", "holding", 101, []uint16{0xff9c}, drivers.IntValue(-100)},
	{"starts", "holding: 102\ntype: uint32", "holding", 102, []uint16{0x0001, 0x86a0}, drivers.IntValue(100000)},
	{"flue_temp", "holding: 104\ntype: float32", "holding", 104, []uint16{0x41ac, 0x0000}, drivers.FloatValue(21.5)},
	{"swapped_float", "holding: 106\ntype: float32\nword_order: little", "holding", 106, []uint16{0x0000, 0x41ac}, drivers.FloatValue(21.5)},
	{"gas", "holding: 108\ntype: uint64\nscale: 0.001", "holding", 108, []uint16{0, 0, 0x0012, 0xd687}, drivers.FloatValue(1234.567)},
	{"alarm", "holding: 112\nbit: 7", "holding", 112, []uint16{0x00a5}, drivers.BoolValue(true)},
	{"no_alarm", "holding: 112\nbit: 6", "", 0, nil, drivers.BoolValue(false)},
	{"stage", "holding: 112\nbits: 4-7", "", 0, nil, drivers.IntValue(10)},
	{"swapped_bytes", "holding: 113\nbyte_order: little", "holding", 113, []uint16{0x3412}, drivers.IntValue(0x1234)},
	{"reversed", "holding: 114\ntype: uint32\nbyte_order: little\nword_order: little", "holding", 114, []uint16{0x7856, 0x3412}, drivers.IntValue(0x12345678)},
	{"bytes_in_words", "holding: 116\ntype: uint32\nbyte_order: little", "holding", 116, []uint16{0x3412, 0x7856}, drivers.IntValue(0x12345678)},
	{"pi", "holding: 118\ntype: float64", "holding", 118, []uint16{0x4009, 0x21fb, 0x5444, 0x2d18}, drivers.FloatValue(math.Pi)},
	{"backwards", "holding: 122\ntype: int64\nword_order: little", "holding", 122, []uint16{0xfffe, 0xffff, 0xffff, 0xffff}, drivers.IntValue(-2)},
	{"last", "holding: 65535", "holding", 65535, []uint16{7}, drivers.IntValue(7)},
	{"pressure", "input: 3\nscale: 0.01\noffset: -1", "input", 3, []uint16{275}, drivers.FloatValue(1.75)},
	{"mode", "input: 4\ntype: bool", "input", 4, []uint16{2}, drivers.BoolValue(true)},
	{"pump", "coil: 768", "coil", 768, []uint16{1}, drivers.BoolValue(true)},
	{"valve", "coil: 785", "coil", 785, []uint16{0}, drivers.BoolValue(false)},
	{"fan", "coil: 787", "coil", 787, []uint16{1}, drivers.BoolValue(true)},
	{"door", "discrete: 20", "discrete", 20, []uint16{1}, drivers.BoolValue(true)},
	{"flame", "discrete: 22", "discrete", 22, []uint16{0}, drivers.BoolValue(false)},
}

func slaveMap() string {
	var b strings.Builder
	for _, k := range known {
		for i, r := range k.registers {
			fmt.Fprintf(&b, "%s %d %d\n", k.kind, k.address+i, r)
		}
	}
	return b.String()
}

func knownPoints() map[string]string {
	points := map[string]string{}
	for _, k := range known {
		points[k.name] = k.config
	}
	return points
}

func knownValues() map[string]drivers.Value {
	want := map[string]drivers.Value{}
	for _, k := range known {
		want["boiler."+k.name] = k.want
	}
	return want
}

func TestConformanceRTUPymodbus(t *testing.T) {
	conform(t, func(t *testing.T) drivertest.Rig {
		return serialRig(t, func(port string) { pymodbus(t, "rtu", port, "17") })
	})
}

func TestConformanceRTULibmodbus(t *testing.T) {
	conform(t, func(t *testing.T) drivertest.Rig {
		return serialRig(t, func(port string) { libmodbus(t, "rtu", port, "17") })
	})
}

func TestConformanceTCPPymodbus(t *testing.T) {
	conform(t, func(t *testing.T) drivertest.Rig { return tcpRig(t, pymodbus(t, "tcp", "127.0.0.1", "17")) })
}

func TestConformanceTCPLibmodbus(t *testing.T) {
	conform(t, func(t *testing.T) drivertest.Rig {
		address := freeAddress(t)
		_, port, _ := net.SplitHostPort(address)
		libmodbus(t, "tcp", port)
		return tcpRig(t, address)
	})
}

const device17 = "unit: 17\nmax_gap: 16"

func serialRig(t *testing.T, slave func(port string)) drivertest.Rig {
	cable := newCable(t)
	slave(cable.DevicePort())
	return drivertest.Rig{
		Bus:   profile(t, "port: "+cable.DriverPort()+"\ntimeout: 500ms", device17, knownPoints()),
		Want:  knownValues(),
		Break: func() { must(t, cable.Unplug()) },
		Stall: func() { cable.ToDevice(swallow) },
		Restore: func() {
			cable.ToDevice(nil)
			must(t, cable.Plug())
		},
		Within: 40 * time.Second,
	}
}

func tcpRig(t *testing.T, address string) drivertest.Rig {
	r := newRelay(t, address)
	return drivertest.Rig{
		Bus:     profile(t, "tcp: "+r.address+"\ntimeout: 500ms", device17, knownPoints()),
		Want:    knownValues(),
		Break:   r.down,
		Stall:   r.stall,
		Restore: r.up,
		Within:  40 * time.Second,
	}
}

// Every setting that Validate accepts is one that the serial library takes.
func TestLineSettings(t *testing.T) {
	t.Parallel()
	cable := newCable(t)
	libmodbus(t, "rtu", cable.DevicePort(), "17")
	for _, settings := range []string{
		"baud: 300\nturnaround: 0s", "baud: 19200\nparity: even", "baud: 38400\nparity: odd\nstop_bits: 1",
		"baud: 115200\nstop_bits: 2", "baud: 250000", "baud: 4000000", "turnaround: 20ms",
	} {
		l := openLine(t, profile(t, "port: "+cable.DriverPort()+patient+"\n"+settings, device17, knownPoints()))
		got, err := l.poll(0)
		if r := got["pi"]; r.Value != drivers.FloatValue(math.Pi) {
			t.Errorf("%q: %v, %v", settings, r, err)
		}
		must(t, l.sensor.Close())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func conform(t *testing.T, start func(t *testing.T) drivertest.Rig) {
	t.Parallel()
	drivertest.Run(t, drivertest.Subject{
		Driver: Driver(),
		Start:  start,
		Missing: func(t *testing.T) drivers.BusSpec {
			return profile(t, "port: "+t.TempDir()+"/usb-adapter", device17, knownPoints())
		},
		Mistakes: []drivertest.Mistake{
			{Level: drivertest.Bus, YAML: "{}", Fields: []string{"port"}},
			{
				Level:  drivertest.Bus,
				YAML:   "port: /dev/ttyUSB0\ntcp: boiler\nbaud: 5\nparity: mark\ndata_bits: 7\nstop_bits: 3\ntimeout: 1us\nturnaround: 1h\nretries: -1",
				Fields: []string{"tcp", "baud", "parity", "data_bits", "stop_bits", "timeout", "turnaround", "retries"},
			},
			{Level: drivertest.Bus, YAML: "tcp: boiler", Fields: []string{"tcp"}},
			{Level: drivertest.Device, YAML: "{}", Fields: []string{"unit"}},
			{
				Level:  drivertest.Device,
				YAML:   "unit: 248\nmax_gap: -1\nmax_registers: 126\nmax_coils: 2001\nword_order: high\nbyte_order: low",
				Fields: []string{"unit", "max_gap", "max_registers", "max_coils", "word_order", "byte_order"},
			},
			{Level: drivertest.Point, YAML: "{}", Fields: []string{"holding"}},
			{
				Level:  drivertest.Point,
				YAML:   "holding: 65534\ntype: uint64\nbits: 60-64\nword_order: x\nbyte_order: y\nscale: 0\noffset: .nan",
				Fields: []string{"holding", "bits", "word_order", "byte_order", "scale", "offset"},
			},
		},
	})
}
