package console

import (
	"os"
	"strings"
	"testing"
)

func TestLicencesNameAllThatComesFromOthers(t *testing.T) {
	text, err := os.ReadFile("static/LICENSES")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("static/vendor")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of others (%v)", len(files), err)
	}
	list, _, _ := strings.Cut(string(text), "\n---- ") // the licences themselves follow
	for _, f := range files {
		if !strings.Contains(list, f.Name()) {
			t.Errorf("static/LICENSES does not say where %s comes from, and under which licence", f.Name())
		}
	}
}
