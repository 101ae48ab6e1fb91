//go:build linux

package modbus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The slaves here are not ours, so that the driver and its tests can't agree on
// a wrong idea of Modbus.

// skipForeign is the environment variable that skips them where the packages
// can't be installed.
const skipForeign = "TIDEMARK_SKIP_FOREIGN"

func needs(t *testing.T, pkg string, present bool) {
	t.Helper()
	if present {
		return
	}
	if os.Getenv(skipForeign) == "1" {
		t.Skipf("%s is not installed, and %s=1", pkg, skipForeign)
	}
	t.Fatalf("this test needs the Debian package %s (apt-get install %s); %s=1 skips it", pkg, pkg, skipForeign)
}

// pymodbus starts a slave on python3-pymodbus and returns its address.
func pymodbus(t *testing.T, how, where, units string) string {
	t.Helper()
	const python = "/usr/bin/python3"
	for module, pkg := range map[string]string{"pymodbus": "python3-pymodbus", "serial_asyncio": "python3-serial-asyncio"} {
		needs(t, pkg, exec.Command(python, "-c", "import "+module).Run() == nil)
	}
	args := append([]string{"testdata/slave.py", how, where}, strings.Fields(units)...)
	return start(t, exec.Command(python, args...))
}

var (
	buildOnce sync.Once
	buildDir  string
	buildErr  error
)

// libmodbus starts a slave on libmodbus and returns its address.
func libmodbus(t *testing.T, args ...string) string {
	t.Helper()
	_, err := exec.LookPath("gcc")
	needs(t, "gcc", err == nil)
	_, err = os.Stat("/usr/include/modbus/modbus.h")
	needs(t, "libmodbus-dev", err == nil)
	buildOnce.Do(func() {
		if buildDir, buildErr = os.MkdirTemp("", "tidemark-slave"); buildErr != nil {
			return
		}
		out, err := exec.Command("gcc", "-Wall", "-Werror", "-O1", "-I/usr/include/modbus",
			"-o", filepath.Join(buildDir, "slave"), "testdata/slave.c", "-lmodbus").CombinedOutput()
		if err != nil {
			buildErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return start(t, exec.Command(filepath.Join(buildDir, "slave"), args...))
}

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// start runs a slave with the standard map until the test ends. It returns what
// the slave says after "ready".
func start(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		end(cmd)
	})
	if _, err := io.WriteString(in, slaveMap()+"\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready") {
		end(cmd)
		t.Fatalf("%s said %q, %v: %s", cmd.Path, line, err, stderr.String())
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "ready"))
}

// end ends a program. That it had ended by itself, or ends by the signal, is fine.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// freeAddress returns an address on loopback that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	return ln.Addr().String()
}
