package cli

import (
	"bytes"
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tidemark/cloud/ask/asktest"
	"tidemark/cloud/contract"
	"tidemark/cloud/gateway"
)

var sampleNow = time.Date(2026, 11, 21, 8, 30, 0, 0, time.UTC)

func testEnv(stdout, stderr interface{ Write([]byte) (int, error) }) Env {
	return Env{Stdout: stdout, Stderr: stderr, Getenv: os.Getenv, Now: func() time.Time { return sampleNow }, Version: "0.1.0"}
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tidemark": func() { os.Exit(Run(context.Background(), os.Args[1:], testEnv(os.Stdout, os.Stderr))) },
	})
}

// serve runs the real gateway in front of the sample platform.
func serve(t *testing.T, p *asktest.Platform) (server string, stop func()) {
	t.Helper()
	g, err := gateway.New(gateway.Config{}, p.Conn)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return "http://" + ln.Addr().String(), stop
}

func TestScripts(t *testing.T) {
	server, _ := serve(t, asktest.Start(t, asktest.Sample(sampleNow)))
	empty, _ := serve(t, asktest.Start(t, asktest.State{}))
	half := asktest.Start(t, asktest.Sample(sampleNow))
	if err := half.Stop("trace"); err != nil {
		t.Fatal(err)
	}
	halfServer, _ := serve(t, half)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String()
	ln.Close()
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(e *testscript.Env) error {
			e.Setenv("TIDEMARK_SERVER", server)
			e.Setenv("EMPTY", empty)
			e.Setenv("HALF", halfServer)
			e.Setenv("NOBODY", nobody)
			e.Setenv("TRACE", asktest.TraceID)
			return nil
		}, Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits}})
	})
}

// exits runs the tidemark that its arguments describe, and holds its exit code
// against the first: exits 75 sites --server …
func exits(ts *testscript.TestScript, _ bool, args []string) {
	var out, errs bytes.Buffer
	env := testEnv(&out, &errs)
	env.Getenv = ts.Getenv
	code := Run(context.Background(), args[1:], env)
	ts.Check(os.WriteFile(ts.MkAbs("out"), out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), errs.Bytes(), 0o600))
	if want := args[0]; want != map[int]string{0: "0", 1: "1", 2: "2", 75: "75", 78: "78"}[code] {
		ts.Fatalf("exit code %d, want %s: %s", code, want, errs.String())
	}
	if code != 0 && (out.Len() > 0 || errs.Len() == 0) {
		ts.Fatalf("an error belongs on standard error alone; standard output: %q", out.String())
	}
}

// lockedBuffer takes output that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestFollowShowsReadingsAndOutlivesAnInterruption(t *testing.T) {
	p := asktest.Start(t, asktest.Sample(sampleNow))
	server, stop := serve(t, p)
	var out, errs lockedBuffer
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, []string{"readings", "busan-plant-2", "--follow", "--server", server, "--point", "boiler.flow_temp"}, testEnv(&out, &errs))
	}()
	asktest.Await(t, "the lease", func() bool { return len(p.Asked(contract.ReqLease)) > 0 })
	live := contract.LiveReadings{Site: "busan-plant-2", Gateway: "boiler-room", Readings: []contract.Reading{
		{Point: "boiler.flow_temp", TimeMs: sampleNow.UnixMilli(), Value: 71.25, Quality: "good"},
		{Point: "boiler.flow_temp", TimeMs: sampleNow.UnixMilli() + 1000, Quality: "bad", Reason: "time\x1bout"},
		{Point: "boiler.other", TimeMs: sampleNow.UnixMilli(), Value: 1, Quality: "good"}}}
	asktest.Await(t, "readings", func() bool {
		p.Live(t, live)
		return strings.Contains(out.String(), "71.25")
	})
	asktest.Await(t, "a bad reading", func() bool { return strings.Contains(out.String(), "bad time·out") })
	if strings.Contains(out.String(), "boiler.other") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("output: %q", out.String())
	}
	stop()
	asktest.Await(t, "a word about the interruption", func() bool {
		return strings.Contains(errs.String(), "interrupted") && strings.Contains(errs.String(), "tidemark readings busan-plant-2 --from 2026-11-21T08:30:00.000Z")
	})
	cancel()
	select {
	case got := <-code:
		if got != 0 {
			t.Errorf("exit code %d", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	tab := newTable("STATE", ">N")
	tab.add(codeColor("firing"), "12")
	var plain, colored bytes.Buffer
	if err := tab.write(&plain, false); err != nil {
		t.Fatal(err)
	}
	if err := tab.write(&colored, true); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(colored.String(), red+"firing"+reset) {
		t.Errorf("%q\n%q", plain.String(), colored.String())
	}
	stripped := strings.NewReplacer(red, "", bold, "", reset, "").Replace(colored.String())
	if stripped != plain.String() {
		t.Errorf("colours move columns: %q, %q", stripped, plain.String())
	}
}
