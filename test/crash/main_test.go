package crash

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

var (
	rounds = flag.Int("rounds", fromEnv("TIDEMARK_CRASH_ROUNDS", 10), "rounds of SIGKILL; the environment's TIDEMARK_CRASH_ROUNDS says so too")
	seed   = flag.Uint64("seed", 0, "of the random moments, victims and faults; 0 takes another one each time")
)

// bin is the folder of the programs under test.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	code, err := 1, build()
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := os.RemoveAll(bin); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// build makes the programs as make build does.
func build() (err error) {
	if bin, err = os.MkdirTemp("", "tidemark-crash-"); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", bin+"/", "./agent/cmd/tidemark-agent", "./cloud/cmd/tidemark-cloud")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

func fromEnv(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return def
}

// random returns the source of a test's random choices, and says how to have them again.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	t.Logf("seed %d (again with: go test ./test/crash -run '^%s$' -args -rounds %d -seed %d)", *seed, t.Name(), *rounds, *seed)
	return rand.New(rand.NewPCG(*seed, 1))
}

// until waits for a condition.
func until(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	end := time.Now().Add(limit)
	for !done() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// between returns a random duration.
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)))
}
