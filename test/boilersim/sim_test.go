//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"tidemark/drivers"
	"tidemark/drivers/modbus"
	"tidemark/drivers/modbus/line"
)

// process is the simulator as a process of its own.
type process struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
}

func launch(t *testing.T, link string) *process {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "boilersim")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := &process{t: t, cmd: exec.Command(bin, "-link", link, "-unit", "7", "-speed", "10")}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // if a failure ended the test before it ended
	p.says("ready " + link)
	return p
}

func (p *process) says(want string) {
	p.t.Helper()
	got, err := p.out.ReadString('\n')
	if strings.TrimSpace(got) != want {
		p.t.Fatalf("it said %q, %v; want %q", got, err, want)
	}
}

func (p *process) do(command, want string) {
	p.t.Helper()
	fmt.Fprintln(p.in, command)
	p.says(want)
}

// points are those that doc.go tells people to put into a profile.
func points(t *testing.T) []drivers.PointSpec {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var points []drivers.PointSpec
	for line := range strings.Lines(string(doc)) {
		text, ok := strings.CutPrefix(line, "//\t  - ")
		if !ok {
			continue
		}
		var keys map[string]any
		if err := yaml.Load([]byte(text), &keys); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		spec := drivers.PointSpec{Name: keys["name"].(string), Config: modbus.Driver().Point()}
		spec.Unit, _ = keys["unit"].(string)
		delete(keys, "name")
		delete(keys, "unit")
		own, err := yaml.Dump(keys)
		if err == nil {
			err = yaml.Load(own, spec.Config, yaml.WithKnownFields())
		}
		if err == nil {
			err = spec.Config.Validate()
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		points = append(points, spec)
	}
	if len(points) < 12 {
		t.Fatalf("doc.go lists %d points", len(points))
	}
	return points
}

func open(t *testing.T, link string) drivers.Sensor {
	t.Helper()
	bus, device := modbus.Driver().Bus().(*modbus.BusConfig), modbus.Driver().Device().(*modbus.DeviceConfig)
	unit := 7
	bus.Port, device.Unit = link, &unit
	s, err := modbus.Driver().Open(drivers.BusSpec{Name: "rs485", Config: bus, Devices: []drivers.DeviceSpec{{
		Name: "boiler", Interval: time.Second, Config: device, Points: points(t),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// until polls until every point is good, or bad for the reason, and returns the values.
func until(t *testing.T, s drivers.Sensor, reason string) map[string]drivers.Value {
	t.Helper()
	spec := s.Scans()[0]
	var scan drivers.Scan
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		scan.Reset(&spec)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err = s.Read(ctx, 0, &scan)
		cancel()
		values, all := map[string]drivers.Value{}, true
		for i, r := range scan.Readings {
			got := r.Reason
			if err != nil {
				got = drivers.ReasonOf(err)
			}
			all = all && got == reason
			values[spec.Points[i].Name] = r.Value
		}
		if all {
			return values
		}
	}
	t.Fatalf("the points never were all %q: %v, %+v", reason, err, scan)
	return nil
}

func TestSimulatorAsAProcess(t *testing.T) {
	link := filepath.Join(t.TempDir(), "boiler")
	p := launch(t, link)
	s := open(t, link)
	v := until(t, s, "")
	if temp := v["boiler_temp"].Float(); temp < 30 || temp > 95 {
		t.Errorf("the boiler has %v °C", temp)
	}
	if gas := v["gas"].Float(); gas < 48213 || gas > 48300 {
		t.Errorf("the gas counter is at %v m3", gas)
	}
	p.do("nak", "refusing")
	until(t, s, line.ReasonException(4))
	p.do("ok", "answering")
	until(t, s, "")
	for range 2 {
		p.do("unplug", "unplugged")
		until(t, s, drivers.ReasonPort)
		p.do("plug", "ready "+link)
		until(t, s, "")
	}
	p.do("dance", `error: "dance" is none of unplug, plug, nak, ok`)
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := os.Lstat(link); err == nil {
		t.Error("it left the link behind")
	}
	until(t, s, drivers.ReasonPort)
}

func TestWrongUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"-link", "x", "-unit", "0"}, {"-link", "x", "-speed", "-1"}, {"-link", file}} {
		if err := run(t.Context(), args, strings.NewReader(""), io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
	if st, err := os.Lstat(file); err != nil || !st.Mode().IsRegular() {
		t.Error("a file of somebody's was replaced by the link")
	}
}
