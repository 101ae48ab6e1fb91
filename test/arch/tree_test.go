package arch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// top is all that stands at the top level, beside dotfiles and what .gitignore names.
var top = []string{
	"protocol", "drivers", "agent", "cloud", "packaging", "sites", "test",
	"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "SECURITY.md",
}

// strangers returns the names at the top level that have no place there.
func strangers(names, ignored []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return strings.HasPrefix(name, ".") || slices.Contains(top, name) || slices.Contains(ignored, "/"+name+"/")
	})
}

func TestTopLevel(t *testing.T) {
	ignore, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, name := range strangers(names, strings.Split(string(ignore), "\n")) {
		t.Errorf("%s stands at the top level: give it a place in one of %v", name, top[:7])
	}
	if got := strangers([]string{"agent", ".ci", "bin", "notes.txt", "pkg"}, []string{"/bin/"}); !slices.Equal(got, []string{"notes.txt", "pkg"}) {
		t.Errorf("of five names at the top level %q are strangers, want notes.txt and pkg", got)
	}
}

// unfinished finds marks of work left open. The words are put together here, so that this file does not hold them.
var unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}, "|") + `)\b`)

// written are the kinds of files that people write.
var written = []string{".go", ".md", ".sh", ".py", ".yaml", ".yml", ".toml", ".pml", ".cddl", ".html", ".css", ".js", ".c", ".json"}

// marks returns the numbers of the lines that hold a mark.
func marks(text string) []int {
	var lines []int
	n := 0
	for line := range strings.Lines(text) {
		if n++; unfinished.MatchString(line) {
			lines = append(lines, n)
		}
	}
	return lines
}

func TestNothingIsMarkedUnfinished(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another test's scratch file, gone again
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "build", "demo-state"}, rel) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains(written, filepath.Ext(path)) && d.Name() != "Makefile" || strings.Contains(d.Name(), ".min.") {
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read %s: %w", rel, err)
		}
		for _, line := range marks(string(text)) {
			t.Errorf("%s:%d is marked as unfinished: finish it, or make it an issue", rel, line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("looked at %d files only", files)
	}
	if got := marks("a\n// " + "TO" + "DO: b\n" + "TO" + "DOS are words\n"); !slices.Equal(got, []int{2}) {
		t.Errorf("marks found on lines %v, want 2", got)
	}
}
