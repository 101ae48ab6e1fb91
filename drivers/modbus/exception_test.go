//go:build linux

package modbus

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tidemark/drivers"
	"tidemark/drivers/drivertest/pty"
	"tidemark/drivers/modbus/line"
	"tidemark/drivers/modbus/slave"
)

// ours starts our own slave, for what can't be asked of the others: to change.
func ours(t *testing.T, unit uint8) (*slave.Slave, string) {
	t.Helper()
	port, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &slave.Slave{Unit: unit, Bank: &slave.Bank{}}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(port) })
	t.Cleanup(func() { port.Close(); wg.Wait() })
	return s, port.Path
}

// Registers that the device does not have are found, left alone and remembered;
// the others are read.
func TestRefusedRegistersAreIsolated(t *testing.T) {
	t.Parallel()
	cable := newCable(t)
	pymodbus(t, "rtu", cable.DevicePort(), "17")
	var asked atomic.Int64
	cable.ToDevice(whole(func(f []byte, to io.Writer) error { asked.Add(1); _, err := to.Write(f); return err }))
	points := knownPoints()
	points["absent_1"] = "holding: 200"
	points["absent_2"] = "input: 5\ntype: uint32"
	points["absent_3"] = "coil: 900"
	l := openLine(t, profile(t, "port: "+cable.DriverPort()+patient, "unit: 17\nmax_gap: 124", points))
	check := func() {
		t.Helper()
		got, err := l.poll(0)
		for name, r := range got {
			if strings.HasPrefix(name, "absent") {
				if r.Reason != line.ReasonException(2) {
					t.Fatalf("%s is %+v, %v", name, r, err)
				}
			} else if r.Quality != drivers.Good || r.Value != knownValues()["boiler."+name] {
				t.Fatalf("%s is %+v, %v", name, r, err)
			}
		}
	}
	check()
	learning := asked.Swap(0)
	for range 3 {
		check()
	}
	if n := asked.Load(); n%3 != 0 || n/3 >= learning || n/3 > 10 {
		t.Errorf("learning took %d requests, and three polls %d more", learning, n)
	}
	t.Logf("%d points: %d requests while learning, then %d", len(points), learning, asked.Load()/3)
}

// A device that refuses everything is asked one thing in each poll, and is
// learned anew when it no longer refuses.
func TestRefusalEnds(t *testing.T) {
	t.Parallel()
	s, port := ours(t, 1)
	l := openLine(t, profile(t, "port: "+port+patient, "unit: 1", map[string]string{"a": "holding: 0", "b": "holding: 1", "c": "input: 0"}))
	if _, err := l.poll(0); drivers.ReasonOf(err) != line.ReasonException(2) {
		t.Fatal(err)
	}
	s.Bank.Set(slave.Holding, 0, 5, 6)
	s.Bank.Set(slave.Input, 0, 7)
	for _, p := range []string{"a", "b", "c"} {
		l.until(0, p, "")
	}
	// A refusal that says nothing of registers is not remembered.
	s.Refuse(6)
	if _, err := l.poll(0); drivers.ReasonOf(err) != line.ReasonException(6) || !strings.Contains(err.Error(), "busy") {
		t.Fatal(err)
	}
	s.Refuse(0)
	if got, err := l.poll(0); err != nil || got["c"].Value != drivers.IntValue(7) {
		t.Fatal(got, err)
	}
}

// What a gateway says of a slave that is away counts as no answer from it.
func TestGatewayWithoutTheSlave(t *testing.T) {
	t.Parallel()
	s, port := ours(t, 1)
	s.Refuse(11)
	l := openLine(t, profile(t, "port: "+port+patient, "unit: 1", map[string]string{"a": "holding: 0"}))
	l.until(0, "a", line.ReasonException(11))
	l.until(0, "a", drivers.ReasonBreaker)
}

func TestValuesOutOfRange(t *testing.T) {
	t.Parallel()
	s, port := ours(t, 1)
	s.Bank.Set(slave.Holding, 0, 0x8000, 0x7fc0, 0, 0x8000, 0, 0, 1, 3)
	l := openLine(t, profile(t, "port: "+port+patient, "unit: 1", map[string]string{
		"none":   "holding: 0\ntype: int16\nscale: 0.1\nno_value: 0x8000",
		"signed": "holding: 0\ntype: int16\nno_value: -32768",
		"nan":    "holding: 1\ntype: float32",
		"large":  "holding: 3\ntype: uint64",
		"scaled": "holding: 3\ntype: uint64\nscale: 1",
		"right":  "holding: 7",
	}))
	got, err := l.poll(0)
	if err == nil && got["signed"].Reason == "" {
		t.Error("-32768 was no no_value")
	}
	for _, p := range []string{"none", "nan", "large"} {
		if r := got[p]; r.Reason != drivers.ReasonRange || r.Value != (drivers.Value{}) {
			t.Errorf("%s is %+v, %v", p, r, err)
		}
	}
	if got["right"].Value != drivers.IntValue(3) || got["scaled"].Value != drivers.FloatValue(1<<63+1) {
		t.Errorf("%v, %v", got, err)
	}
}
