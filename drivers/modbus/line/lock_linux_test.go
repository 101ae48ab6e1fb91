package line

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Who has a port open without a lock is found as well. A file stands in for the
// port here: what is open under which path is all that /proc tells of either.
func TestOpener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "port")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	byID := path + "-by-id"
	if err := os.Symlink(path, byID); err != nil {
		t.Fatal(err)
	}
	mine, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	if pid := opener(byID); pid != 0 {
		t.Errorf("nobody else has it open, but %d (%s) was found", pid, program(pid))
	}
	cmd := exec.Command("/bin/sh", "-c", `exec 3<"$0"; echo ready; read wait`, byID)
	in, err := cmd.StdinPipe()
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
	defer func() { in.Close(); _ = cmd.Wait() }()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if pid := opener(byID); pid != cmd.Process.Pid || program(pid) == "" {
		t.Errorf("found %d (%s), want %d", pid, program(pid), cmd.Process.Pid)
	}
}
