package profile

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/drivers"
	"tidemark/drivers/all"
)

const sites = "../../sites/"

// Every example site runs: all of its points are read.
func TestExampleSitesRun(t *testing.T) {
	t.Setenv("TIDEMARK_PORT", boilerRoom(t))
	files, err := filepath.Glob(sites + "*/site.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("sites %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			p, err := Load(file, all.Drivers())
			if err != nil {
				t.Fatal(err)
			}
			if p.Site != filepath.Base(filepath.Dir(file)) {
				t.Errorf("site %s lies in %s", p.Site, file)
			}
			good := 0
			for _, b := range p.Buses {
				good += readAll(t, b)
			}
			if good != p.Points() {
				t.Errorf("%d of %d points were good", good, p.Points())
			}
		})
	}
}

// readAll polls a bus until every point was good, and returns how many were.
func readAll(t *testing.T, b Bus) int {
	t.Helper()
	s, err := b.Driver.Open(b.Spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	good := map[pointName]bool{}
	deadline := time.Now().Add(20 * time.Second)
	for i, spec := range s.Scans() {
		for want := len(good) + len(spec.Points); len(good) < want && time.Now().Before(deadline); {
			var sc drivers.Scan
			sc.Reset(&spec)
			if err := s.Read(t.Context(), i, &sc); err != nil {
				t.Fatalf("bus %s: %v", b.Name, err)
			}
			for k, r := range sc.Readings {
				if r.Quality == drivers.Good {
					good[pointName{spec.Points[k].Device, spec.Points[k].Name}] = true
				}
			}
		}
	}
	return len(good)
}

// boilerRoom starts the simulated boiler room and returns its port.
func boilerRoom(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin, port := filepath.Join(dir, "boilersim"), filepath.Join(dir, "port")
	if out, err := exec.Command("go", "build", "-o", bin, "tidemark/test/boilersim").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(bin, "-link", port)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // it ends when this pipe does
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("boilersim said %q, %v", line, err)
	}
	return port
}

// Mistakes that only the real drivers know have their place too.
func TestMistakesOfTheRealDrivers(t *testing.T) {
	const text = `version: 1
site: s
gateway: g
buses:
  - name: line
    driver: modbus
    port: /dev/ttyS0
    baud: 1
    devices:
      - name: d
        unit: 300
        points:
          - {name: a, holding: 65536}
          - {name: b, holding: 65535, type: uint32}
          - {name: c, holdign: 1}
          - {name: d, input: 1, type: uint17}
  - name: self
    driver: host
    devices:
      - {name: gw, points: [{name: a, metric: cpu}, {name: b, metric: temp_c, path: /}]}
`
	_, err := Parse("site.yaml", []byte(text), all.Drivers(), environment)
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, at := range []string{"8:11: baud", "11:15: unit", "13:32: holding", "14:", "15:23: a point has no key \"holdign\"; did you mean holding?",
		"16:39: type", "20:47: metric", "20:85: path"} {
		if !strings.Contains("\n"+err.Error(), "\nsite.yaml:"+at) {
			t.Errorf("nothing at %s in:\n%v", at, err)
		}
	}
}
