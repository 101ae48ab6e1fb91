package rule

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestBadRules loads the folder that each archive in testdata holds; its
// comment is the error that it must give, complete.
func TestBadRules(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(filepath.Base(name), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for _, f := range a.Files {
				if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err = load(dir)
			var bad *LoadError
			if !errors.As(err, &bad) || len(bad.Mistakes) == 0 {
				t.Fatalf("loaded: %v", err)
			}
			got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "") + "\n"
			if *update {
				a.Comment = []byte(got)
				if err := os.WriteFile(name, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(a.Comment) {
				t.Errorf("got\n%swant\n%s", got, a.Comment)
			}
		})
	}
}

func TestGoodRules(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty.yaml": "", "comment.yml": "# nothing yet\n", "norules.yaml": "rules: []\n", "ignored.txt": "rules: 7",
		"full.yaml": boilerRules,
		"block.yaml": `
rules:
  - name: block
    when: |
      a.b > 1 &&
      a.c < 2
    for: 1h30m
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rules, err := load(dir)
	if err != nil || len(rules) != 4 {
		t.Fatalf("%d rules, %v", len(rules), err)
	}
	if r := rules[0]; r.name != "block" || strings.Join(r.points, " ") != "a.b a.c" || r.hold.Minutes() != 90 || r.severity != "warning" {
		t.Errorf("%+v", r)
	}
	if r := rules[1]; strings.Join(r.shown, " ") != "meter-main.l1_v" || r.clear == nil {
		t.Errorf("%+v", r)
	}
	if _, err := load(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// FuzzRules holds that no file of rules makes the loader panic, or busy for long.
func FuzzRules(f *testing.F) {
	f.Add(boilerRules)
	f.Add("rules: [{name: a, when: 'a.b > 1', for: 5m, summary: '{a.b'}]")
	f.Add("a: &x [*x, *x]\nrules: *x\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := &loader{file: "rules.yaml", names: map[string]string{}}
		start := time.Now()
		l.parse([]byte(text))
		if d := time.Since(start); d > 3*time.Second {
			t.Fatalf("%d bytes took %s", len(text), d)
		}
		for _, r := range l.rules {
			if len(r.points) == 0 || r.name == "" || r.when == nil {
				t.Fatalf("a rule without name, points or condition: %+v", r)
			}
		}
	})
}
