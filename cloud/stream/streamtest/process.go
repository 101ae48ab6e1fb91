package streamtest

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"tidemark/cloud/bus"
)

// busURL is set in the environment of a process that [StartProcess] starts.
const busURL = "TIDEMARK_STREAMTEST_BUS"

// Main is for TestMain: in a process of [StartProcess] it runs the service that
// open makes, on the bus of the test that started it; otherwise it runs the
// tests. It does not return.
func Main(m *testing.M, open func(*bus.Bus) (Service, error)) {
	url := os.Getenv(busURL)
	if url == "" {
		os.Exit(m.Run())
	}
	if err := serve(url, open); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(url string, open func(*bus.Bus) (Service, error)) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := bus.Open(ctx, bus.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer b.Close()
	s, err := open(b)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// StartProcess starts the service of [Main] in a process of its own, on the
// lab's bus, with these "KEY=value" in its environment, and returns how to kill
// it. It is an error of the test if the process fails by itself.
func (l *Lab) StartProcess(env ...string) (kill func()) {
	l.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), busURL+"="+l.Bus.URL()), env...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended by itself, which Wait tells
		err := cmd.Wait()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && (!ws.Signaled() || ws.Signal() != syscall.SIGKILL) {
			l.t.Errorf("the service ended by itself: %v", err)
		}
	})
	l.t.Cleanup(kill)
	return kill
}

// PositionOnDisk is how far the service has come whose SQLite file this is,
// while another process may write it; 0 until the file has its tables.
func PositionOnDisk(path string) (p uint64) {
	u := url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return 0
	}
	defer db.Close()
	_ = db.QueryRow(`SELECT device FROM position`).Scan(&p) // 0 until the tables are there
	return p
}
