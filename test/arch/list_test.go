package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"testing"
)

// root is the top of the checkout, seen from here.
const root = "../.."

// pkg is what the go command says about a package.
type pkg struct {
	ImportPath, Name, Doc, Dir         string
	GoFiles, CgoFiles                  []string
	Imports, TestImports, XTestImports []string
}

// list asks the go command. Packages that do not compile are listed too: that they do not is for other tests to say.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e",
		"-json=ImportPath,Name,Doc,Dir,GoFiles,CgoFiles,Imports,TestImports,XTestImports"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatalf("go list %v: %v", args, err)
		}
		pkgs = append(pkgs, p)
	}
}
