package protocol

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The golden vectors, read by another language with another CBOR library, by
// the rules of README.md.
func TestVectorsInPython(t *testing.T) {
	out, err := runCheck(t, "testdata")
	if err != nil {
		t.Fatalf("%v\n%s\n(it needs the Debian package python3-cbor2)", err, out)
	}
	var checked map[string]int
	if err := json.Unmarshal(out, &checked); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, kind := range []string{"schema", "bundle", "ack", "set"} {
		if checked[kind] == 0 {
			t.Errorf("no %s was checked: %v", kind, checked)
		}
	}
}

// A value that is changed, or a byte, is noticed.
func TestVectorsInPythonCanFail(t *testing.T) {
	for _, c := range []struct{ file, from, to string }{
		{"bundles.txtar", `good 71.4"`, `good 71.5"`},
		{"bundles.txtar", `bad(timeout)"`, `bad(crc)"`},
		{"sets.txtar", `"1-500,602"`, `"1-500,603"`},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, c.file)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(data), c.from, c.to, 1)
		if changed == string(data) {
			t.Fatalf("%s holds no %s", c.file, c.from)
		}
		if err := os.WriteFile(name, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := runCheck(t, dir); err == nil || !strings.Contains(string(out), "want") {
			t.Errorf("%s for %s in %s: %v\n%s", c.to, c.from, c.file, err, out)
		}
	}
}

func runCheck(t *testing.T, dir string) ([]byte, error) {
	t.Helper()
	return exec.Command("/usr/bin/python3", filepath.Join(dir, "check.py")).CombinedOutput()
}
