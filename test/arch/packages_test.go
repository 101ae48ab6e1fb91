package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mainLines is how long the file of a program's main may be: flags, signals and one call.
const mainLines = 100

// emptyNames say nothing about what a package owns.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "manager", "base", "lib"}

// careless returns one sentence for each rule that the package breaks.
func careless(p pkg) []string {
	var found []string
	if p.Doc == "" {
		found = append(found, p.ImportPath+" has no package comment: say in doc.go what it owns")
	}
	if slices.Contains(emptyNames, p.ImportPath[strings.LastIndexByte(p.ImportPath, '/')+1:]) {
		found = append(found, p.ImportPath+": the name does not say what the package is")
	}
	if len(p.CgoFiles) > 0 {
		found = append(found, p.ImportPath+" uses cgo, so one machine can no longer build every target")
	}
	return found
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, violation := range careless(p) {
			t.Error(violation)
		}
	}
}

func TestPackageRulesSeeViolations(t *testing.T) {
	good := pkg{ImportPath: module + "/agent/outbox", Doc: "Package outbox"}
	if got := careless(good); len(got) != 0 {
		t.Errorf("a good package is refused: %q", got)
	}
	for name, spoil := range map[string]func(*pkg){
		"no comment": func(p *pkg) { p.Doc = "" },
		"empty name": func(p *pkg) { p.ImportPath = module + "/agent/util" },
		"cgo":        func(p *pkg) { p.CgoFiles = []string{"a.go"} },
	} {
		bad := good
		if spoil(&bad); len(careless(bad)) != 1 {
			t.Errorf("%s: found %q, want one violation", name, careless(bad))
		}
	}
}

// thick returns one sentence when source holds a main function and too many lines around it.
func thick(name, source string) string {
	if lines := strings.Count(source, "\n"); lines >= mainLines && strings.Contains(source, "\nfunc main() {") {
		return fmt.Sprintf("%s has %d lines, a main has fewer than %d: move the work into a package that tests share", name, lines, mainLines)
	}
	return ""
}

func TestMainsAreThin(t *testing.T) {
	mains := 0
	for _, p := range list(t, "./agent/...", "./cloud/...") {
		if p.Name != "main" {
			continue
		}
		mains++
		for _, file := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if violation := thick(p.ImportPath+"/"+file, string(source)); violation != "" {
				t.Error(violation)
			}
		}
	}
	if mains < 3 {
		t.Errorf("found %d programs, want tidemark-agent, tidemark-cloud and tidemark", mains)
	}
	long := "package main\n\nfunc main() {\n" + strings.Repeat("\tstep()\n", mainLines) + "}\n"
	if thick("long", long) == "" || thick("other", strings.Replace(long, "main()", "start()", 1)) != "" {
		t.Error("a long main is not told from a long file")
	}
}
