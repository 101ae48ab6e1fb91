package profile

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"tidemark/drivers"
	"tidemark/drivers/replay"
)

var update = flag.Bool("update", false, "write the golden files anew")

var known = []drivers.Driver{replay.Driver(), strictDriver()}

func environment(name string) (string, bool) {
	switch name {
	case "TIDEMARK_PORT":
		return "/dev/pts/7", true
	case "TIDEMARK_BAUD":
		return "19200", true
	case "TIDEMARK_TRICK":
		return "{a: 1}", true
	case "HOME":
		return "/root", true
	}
	return "", false
}

// Each archive in testdata holds one profile, and what Parse says of it.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Files) == 0 || a.Files[0].Name != "site.yaml" {
				t.Fatal("the archive begins with no site.yaml")
			}
			got := "ok\n"
			if _, err := Parse("site.yaml", a.Files[0].Data, known, environment); err != nil {
				got = err.Error() + "\n"
			}
			if *update {
				a.Files = append(a.Files[:1], txtar.File{Name: "says", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(a.Files) != 2 || string(a.Files[1].Data) != got {
				t.Errorf("got:\n%swant:\n%s", got, a.Files[len(a.Files)-1].Data)
			}
		})
	}
}

const good = `version: 1
site: hilltop-plant
gateway: gw-1
cadence: {interval: 2s, commit: 500ms, send: 10s}
buses:
  - name: recorded
    driver: replay
    file: rec/${TIDEMARK_BAUD}.csv
    loop: true
    devices:
      - name: boiler
        interval: 5s
        points:
          - {name: temp_c, unit: Cel, type: float, decimals: 1, deadband: 0.2, max_silence: 10m}
          - {name: starts, type: int}
  - name: line
    driver: strict
    port: ${TIDEMARK_PORT}
    baud: ${TIDEMARK_BAUD}
    devices:
      - {name: pump, unit: 3, points: [{name: rpm, unit: 1/min, reg: 4}]}
`

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TIDEMARK_PORT", "/dev/pts/7")
	t.Setenv("TIDEMARK_BAUD", "19200")
	p, err := Load(file, known)
	if err != nil {
		t.Fatal(err)
	}
	if p.Site != "hilltop-plant" || p.Gateway != "gw-1" || p.File != file || p.Points() != 3 || len(p.Hash) != 16 {
		t.Errorf("got %+v", p)
	}
	if want := (Cadence{2 * time.Second, 500 * time.Millisecond, 10 * time.Second, 30 * time.Second}); p.Cadence != want {
		t.Errorf("cadence %+v", p.Cadence)
	}
	rec, line := p.Buses[0], p.Buses[1]
	if got, want := rec.Spec.Config.(*replay.Bus).Path(), filepath.Join(filepath.Dir(file), "rec", "19200.csv"); got != want {
		t.Errorf("the recording is %s, want %s", got, want)
	}
	temp := drivers.Point{Device: "boiler", Name: "temp_c"}
	if got := rec.Settings(temp); got != (Settings{0.2, 10 * time.Minute}) {
		t.Errorf("settings %+v", got)
	}
	if got := rec.Settings(drivers.Point{Device: "boiler", Name: "starts"}); got != (Settings{}) {
		t.Errorf("settings of a point that has none: %+v", got)
	}
	want := drivers.BusSpec{Name: "line", Config: &strictBus{Port: "/dev/pts/7", Baud: 19200},
		Devices: []drivers.DeviceSpec{{Name: "pump", Interval: 2 * time.Second, Config: &strictDevice{Unit: 3},
			Points: []drivers.PointSpec{{Name: "rpm", Unit: "1/min", Config: &strictPoint{Reg: 4, Type: "int"}}}}}}
	if !reflect.DeepEqual(line.Spec, want) {
		t.Errorf("bus %+v", line.Spec)
	}
	if rec.Spec.Devices[0].Interval != 5*time.Second || line.Driver.Name != "strict" {
		t.Errorf("buses %+v", p.Buses)
	}
}

func TestHashIsTheFiles(t *testing.T) {
	hash := func(text, port string) string {
		p, err := Parse("site.yaml", []byte(text), known, func(n string) (string, bool) {
			if n == "TIDEMARK_PORT" {
				return port, true
			}
			return environment(n)
		})
		if err != nil {
			t.Fatal(err)
		}
		return p.Hash
	}
	a := hash(good, "/dev/pts/1")
	if a != hash(good, "/dev/pts/2") || a == hash(good+"# changed\n", "/dev/pts/1") {
		t.Errorf("hash %s", a)
	}
}

func TestFileProblems(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"), known)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	long := filepath.Join(t.TempDir(), "long.yaml")
	if err := os.WriteFile(long, []byte(good+strings.Repeat("# long\n", MaxSize/7)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(long, known); !errors.Is(err, ErrTooLong) || !strings.HasPrefix(err.Error(), long+": ") {
		t.Errorf("a long file: %v", err)
	}
}

func TestHostileDocuments(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		prev := "*" + string(c-1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat(prev+",", 9) + "]\n"
	}
	for name, text := range map[string]string{
		"alias bomb":    bomb,
		"deep flow":     "a: " + strings.Repeat("[", 1<<20),
		"deep block":    strings.Repeat("- ", 100_000) + "x",
		"deep but fair": "version: " + strings.Repeat("[", 500) + strings.Repeat("]", 500),
		"wrong all over": "version: 1\nsite: s\ngateway: g\nbuses:\n  - name: b\n    driver: replay\n    file: f\n    devices:\n" +
			strings.Repeat("      - {}\n", 200_000),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("site.yaml", []byte(text), known, environment)
			var e *Error
			if !errors.As(err, &e) || len(e.Mistakes) == 0 || len(e.Mistakes) > MaxMistakes {
				t.Fatalf("got %.300v", err)
			}
			if n := len(err.Error()); n > 40_000 {
				t.Errorf("the error has %d bytes", n)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

func TestDriversThatClash(t *testing.T) {
	clash := strictDriver()
	clash.Point = func() drivers.Config { return &clashing{} }
	if _, err := Parse("site.yaml", []byte(good), []drivers.Driver{replay.Driver(), clash}, environment); err == nil || !strings.Contains(err.Error(), "driver strict has a key deadband of a point") {
		t.Errorf("a key that profiles have themselves: %v", err)
	}
	if _, err := Parse("site.yaml", []byte(good), []drivers.Driver{replay.Driver(), replay.Driver()}, environment); err == nil {
		t.Error("two drivers of one name were taken")
	}
}

type clashing struct {
	Deadband int `yaml:"deadband"`
}

func (*clashing) Validate() error { return nil }

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(a.Files[0].Data)
	}
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("site.yaml", text, known, environment)
		if (p == nil) == (err == nil) {
			t.Fatalf("profile %v and error %v", p, err)
		}
		if err == nil {
			if p.Points() == 0 || !nameForm.MatchString(p.Site) || !nameForm.MatchString(p.Gateway) || len(p.Buses) == 0 {
				t.Fatalf("accepted %+v", p)
			}
			return
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("not a list of mistakes: %v", err)
		}
		for _, m := range e.Mistakes {
			if m.Text == "" || m.Pos.Line < 0 || m.Pos.Line > strings.Count(string(text), "\n")+strings.Count(string(text), "\r")+strings.Count(string(text), "\u0085")+strings.Count(string(text), "\u2028")+strings.Count(string(text), "\u2029")+2 {
				t.Fatalf("mistake %+v of %q", m, text)
			}
		}
	})
}
