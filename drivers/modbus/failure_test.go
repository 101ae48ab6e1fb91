//go:build linux

package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aldas/go-modbus-client/packet"

	"tidemark/drivers"
	"tidemark/drivers/drivertest/pty"
	"tidemark/drivers/modbus/line"
)

// reader is an open bus under test.
type reader struct {
	t      *testing.T
	sensor drivers.Sensor
	scan   drivers.Scan
	strict bool // from now on there must be no value
}

func openLine(t *testing.T, spec drivers.BusSpec) *reader {
	t.Helper()
	s, err := Driver().Open(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &reader{t: t, sensor: s}
}

// poll reads device i. It returns the readings by name, each with the poll's
// reason if the poll as a whole failed.
func (l *reader) poll(i int) (map[string]drivers.Reading, error) {
	l.t.Helper()
	spec := l.sensor.Scans()[i]
	l.scan.Reset(&spec)
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	err := l.sensor.Read(ctx, i, &l.scan)
	byName := map[string]drivers.Reading{}
	for k, r := range l.scan.Readings {
		if err != nil {
			r = drivers.Reading{Quality: drivers.Bad, Reason: drivers.ReasonOf(err)}
		}
		byName[spec.Points[k].Name] = r
	}
	return byName, err
}

// until polls device i until the point has the reason; empty means good. Other
// reasons may come before it, since the machine may be too busy to answer in time.
func (l *reader) until(i int, point, reason string) drivers.Reading {
	l.t.Helper()
	var got map[string]drivers.Reading
	var err error
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); {
		got, err = l.poll(i)
		if r := got[point]; r.Reason == reason && r.Quality != drivers.NotRead {
			return r
		} else if l.strict && reason != "" && r.Quality == drivers.Good {
			l.t.Fatalf("%s is %v, which should have the reason %s", point, r.Value, reason)
		}
		time.Sleep(time.Millisecond) // a poll of a resting slave takes no time at all
	}
	l.t.Fatalf("%s never was %q: %v, %v", point, reason, got[point], err)
	return drivers.Reading{}
}

const (
	// fast is for tests that wait for an answer that does not come, and patient
	// for those in which every answer comes, if late on a busy machine.
	fast    = "\ntimeout: 60ms\nretries: 0"
	patient = "\ntimeout: 20s"
)

// whole collects bytes until they make up a sound frame and passes that to f.
func whole(f func(frame []byte, to io.Writer) error) pty.Tamper {
	var buf []byte
	return func(p []byte, to io.Writer) error {
		buf = append(buf, p...)
		for len(buf) >= 5 {
			n := 8 // a request
			if answers := buf[1]&0x80 != 0; answers {
				n = 5
			} else if k := 3 + int(buf[2]) + 2; !sound(buf, n) {
				n = k
			}
			if !sound(buf, n) {
				return nil
			}
			frame := append([]byte(nil), buf[:n]...)
			buf = buf[n:]
			if err := f(frame, to); err != nil {
				return err
			}
		}
		return nil
	}
}

// sound reports whether the first n bytes are a frame with a right checksum.
func sound(b []byte, n int) bool {
	return len(b) >= n && binary.LittleEndian.Uint16(b[n-2:]) == packet.CRC16(b[:n-2])
}

// seal puts a right checksum at the end of a frame.
func seal(frame []byte) []byte {
	n := len(frame) - 2
	binary.LittleEndian.PutUint16(frame[n:], packet.CRC16(frame[:n]))
	return frame
}

// Whatever comes instead of the answer, there is a reason and no value, and the
// next poll on a sound line is good.
func TestAnswersThatDoNotFit(t *testing.T) {
	t.Parallel()
	cable := newCable(t)
	pymodbus(t, "rtu", cable.DevicePort(), "17")
	for name, c := range map[string]struct {
		reason string
		change func(frame []byte) []byte
	}{
		"nothing":          {drivers.ReasonTimeout, func([]byte) []byte { return nil }},
		"wrong unit":       {drivers.ReasonProtocol, func(f []byte) []byte { f[0]++; return seal(f) }},
		"wrong function":   {drivers.ReasonProtocol, func(f []byte) []byte { f[1] = 4; return seal(f) }},
		"too short, sound": {drivers.ReasonProtocol, func(f []byte) []byte { f[2] -= 2; return seal(f[:len(f)-2]) }},
		"too long, sound":  {drivers.ReasonProtocol, func(f []byte) []byte { f[2] += 2; return seal(append(f, 0, 0)) }},
		"bad checksum":     {drivers.ReasonChecksum, func(f []byte) []byte { f[len(f)-1] ^= 0x40; return f }},
		"flipped bit":      {drivers.ReasonChecksum, func(f []byte) []byte { f[4] ^= 1; return f }},
		"truncated":        {drivers.ReasonChecksum, func(f []byte) []byte { return f[:len(f)-1] }},
		"one byte":         {drivers.ReasonChecksum, func(f []byte) []byte { return f[:1] }},
		"noise":            {drivers.ReasonChecksum, func([]byte) []byte { return []byte{0xff, 0, 0xfe, 0x80, 1, 2, 3} }},
		"exception":        {line.ReasonException(4), func(f []byte) []byte { return seal([]byte{f[0], f[1] | 0x80, 4, 0, 0}) }},
	} {
		t.Run(name, func(t *testing.T) {
			cable.ToDriver(nil)
			l := openLine(t, profile(t, "port: "+cable.DriverPort()+fast, "unit: 17", map[string]string{"temp": knownPoints()["flow_temp"]}))
			l.until(0, "temp", "")
			cable.ToDriver(whole(func(f []byte, to io.Writer) error { _, err := to.Write(c.change(f)); return err }))
			l.strict = true
			if r := l.until(0, "temp", c.reason); r.Quality != drivers.Bad || r.Value != (drivers.Value{}) {
				t.Errorf("got %+v", r)
			}
			cable.ToDriver(nil)
			if r := l.until(0, "temp", ""); r.Value != drivers.FloatValue(71.3) {
				t.Errorf("afterwards it is %v", r.Value)
			}
		})
	}
}

// What is around the answer does no harm.
func TestAnswersWithSomethingAround(t *testing.T) {
	t.Parallel()
	cable := newCable(t)
	pymodbus(t, "rtu", cable.DevicePort(), "17")
	var asked atomic.Pointer[[]byte]
	cable.ToDevice(whole(func(f []byte, to io.Writer) error { asked.Store(&f); _, err := to.Write(f); return err }))
	for name, answer := range map[string]func(f []byte, to io.Writer) error{
		"three bytes at a time": func(f []byte, to io.Writer) error {
			for len(f) > 0 {
				n := min(3, len(f))
				if _, err := to.Write(f[:n]); err != nil {
					return err
				}
				f = f[n:]
				time.Sleep(time.Millisecond) // a slow line, not a wait of the test's
			}
			return nil
		},
		"the adapter's echo of the request": func(f []byte, to io.Writer) error {
			_, err := to.Write(append(append([]byte(nil), *asked.Load()...), f...))
			return err
		},
		"a glitch before it": func(f []byte, to io.Writer) error { _, err := to.Write(append([]byte{0}, f...)); return err },
		"somebody else's answer before it": func(f []byte, to io.Writer) error {
			_, err := to.Write(append(seal([]byte{9, 3, 2, 0, 7, 0, 0}), f...))
			return err
		},
		"noise after it": func(f []byte, to io.Writer) error { _, err := to.Write(append(f, 0xff, 0)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			cable.ToDriver(whole(answer))
			l := openLine(t, profile(t, "port: "+cable.DriverPort()+patient, device17, knownPoints()))
			for range 3 {
				got, err := l.poll(0)
				for point, want := range knownValues() {
					if r := got[strings.TrimPrefix(point, "boiler.")]; r.Quality != drivers.Good || r.Value != want {
						t.Fatalf("%s is %+v, %v; want %v", point, r, err, want)
					}
				}
			}
		})
	}
}

// One dead slave costs the others nothing, and is probed with one request.
func TestDeadSlave(t *testing.T) {
	t.Parallel()
	cable := newCable(t)
	pymodbus(t, "rtu", cable.DevicePort(), "17 18")
	var dead atomic.Bool
	var asked18 atomic.Int64
	cable.ToDevice(whole(func(f []byte, to io.Writer) error {
		if f[0] == 18 {
			asked18.Add(1)
			if dead.Load() {
				return nil
			}
		}
		_, err := to.Write(f)
		return err
	}))
	points := map[string]string{"a": "holding: 100", "b": "input: 3", "c": "coil: 768", "d": "discrete: 20"}
	spec := profile(t, "port: "+cable.DriverPort()+"\ntimeout: 200ms\nretries: 2", "unit: 17", points)
	other := profile(t, "port: x", "unit: 18", points).Devices[0]
	other.Name = "dead"
	spec.Devices = append(spec.Devices, other)
	l := openLine(t, spec)
	l.until(0, "a", "")
	l.until(1, "a", "")

	dead.Store(true)
	l.until(1, "a", drivers.ReasonBreaker)
	before := asked18.Load()
	start := time.Now()
	for range 10 {
		if got, err := l.poll(0); got["d"].Quality != drivers.Good {
			t.Fatalf("the neighbour is %v, %v", got["d"], err)
		}
		if got, err := l.poll(1); got["d"].Reason != drivers.ReasonBreaker || !strings.Contains(err.Error(), "unit 18 failed") {
			t.Fatalf("the dead slave is %v, %v", got["d"], err)
		}
	}
	if d, n := time.Since(start), asked18.Load()-before; n > 1+int64(d/restMin) {
		t.Errorf("ten polls of both took %v and asked the dead slave %d times", d, n)
	}
	// The probe: one request, which fails, and rests twice as long.
	before = asked18.Load()
	got := l.until(1, "c", drivers.ReasonTimeout) // coils are asked first
	if n := asked18.Load() - before; n != 1 {
		t.Errorf("the probe took %d requests, %v", n, got)
	}
	dead.Store(false)
	l.until(1, "d", "")
}

// A port that can't be used says why, in words that help.
func TestPortsThatDoNotOpen(t *testing.T) {
	for name, c := range map[string]struct{ path, want string }{
		"missing":   {t.TempDir() + "/usb-adapter", "does not exist"},
		"file":      {tempFile(t, "x"), "no serial port"},
		"directory": {t.TempDir(), "no serial port"},
		"/dev/null": {"/dev/null", "no serial port"},
	} {
		l := openLine(t, profile(t, "port: "+c.path, "unit: 1", map[string]string{"p": "holding: 0"}))
		for range 2 {
			if _, err := l.poll(0); drivers.ReasonOf(err) != drivers.ReasonPort || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestPortHeldByAnotherProcess(t *testing.T) {
	t.Parallel()
	cable := newCable(t)
	pymodbus(t, "rtu", cable.DevicePort(), "17")
	holder := exec.Command("/usr/bin/python3", "-c",
		"import serial, sys; p = serial.Serial(sys.argv[1], exclusive=True); print('ready', flush=True); sys.stdin.read()", cable.DriverPort())
	start(t, holder)
	l := openLine(t, profile(t, "port: "+cable.DriverPort()+patient, "unit: 17", map[string]string{"temp": "holding: 100"}))
	_, err := l.poll(0)
	var held *line.HeldError
	if !errors.As(err, &held) || drivers.ReasonOf(err) != drivers.ReasonPort {
		t.Fatalf("a held port: %v", err)
	}
	want := fmt.Sprintf("in use by process %d (python3)", holder.Process.Pid)
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%v; want %q in it", err, want)
	}
	must(t, holder.Process.Kill())
	l.until(0, "temp", "")

	second := openLine(t, profile(t, "port: "+cable.DriverPort()+patient, "unit: 17", map[string]string{"temp": "holding: 100"}))
	if _, err := second.poll(0); !errors.As(err, &held) || !strings.Contains(err.Error(), "another bus") {
		t.Errorf("the same port twice: %v", err)
	}
}

// A path that leads to another device is followed, though the old one still answers.
func TestPathLeadsElsewhere(t *testing.T) {
	t.Parallel()
	first, second := newCable(t), newCable(t)
	pymodbus(t, "rtu", first.DevicePort(), "17")
	libmodbus(t, "rtu", second.DevicePort(), "17")
	byID := t.TempDir() + "/by-id"
	link(t, first, byID)
	l := openLine(t, profile(t, "port: "+byID+patient, "unit: 17", map[string]string{"temp": "holding: 100"}))
	l.until(0, "temp", "")
	var asked atomic.Int64
	second.ToDevice(whole(func(f []byte, to io.Writer) error { asked.Add(1); _, err := to.Write(f); return err }))
	link(t, second, byID)
	if got, err := l.poll(0); got["temp"].Quality != drivers.Good || asked.Load() == 0 {
		t.Errorf("%v, %v; the new device was asked %d times", got, err, asked.Load())
	}
}
