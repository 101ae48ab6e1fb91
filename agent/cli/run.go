package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"tidemark/agent"
)

// Memory of a gateway is scarce, and the agent's live heap is a few MiB: a
// lower GC percentage than Go's own costs little. With these, 100 points at 1 Hz
// take 15 MiB of resident memory on linux/amd64, 9 of them pages of the program
// and of segments; a backlog of a million readings takes 20, and up to 30 while
// it drains. GOGC and GOMEMLIMIT override.
const (
	gcPercent   = 50
	memoryLimit = 24 << 20
)

func (c *commands) runCommand() *cobra.Command {
	quiet := false
	cmd := &cobra.Command{
		Use: "run", Short: "Run the agent until it is asked to stop (SIGINT, SIGTERM)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.load(cmd); err != nil {
				return err
			}
			if err := c.cfg.Validate(); err != nil {
				return failed(exitConfig, err)
			}
			return c.run(cmd.Context(), quiet)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.cfg.Profile, "profile", c.cfg.Profile, "the site's profile")
	f.StringVar(&c.cfg.Broker, "broker", c.cfg.Broker, "the cloud's MQTT address")
	f.Var((*sizeFlag)(&c.cfg.Budget), "budget", "bytes that the outbox may hold, such as 64MiB (default 512MiB)")
	f.BoolVar(&quiet, "quiet", false, "log warnings and errors only")
	return cmd
}

func (c *commands) run(ctx context.Context, quiet bool) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	level := slog.LevelInfo
	if quiet {
		level = slog.LevelWarn
	}
	log := slog.New(slog.NewTextHandler(c.errs, &slog.HandlerOptions{Level: level}))
	c.cfg.Version, c.cfg.Log = c.version, log
	c.cfg.OnReady = func() { notify(log, daemon.SdNotifyReady) }
	defer context.AfterFunc(ctx, func() { notify(log, daemon.SdNotifyStopping) })()
	return afterRun(agent.Run(ctx, c.cfg), &c.cfg)
}

// notify tells systemd, where that is who started us.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd was not told of a change of state", "err", err)
	}
}

// sizeFlag is a number of bytes, with or without a unit.
type sizeFlag int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

func (s *sizeFlag) Set(text string) error {
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<50/unit {
		return fmt.Errorf("%q is no size such as 67108864 or 64MiB", text)
	}
	*s = sizeFlag(n * unit)
	return nil
}

func (s *sizeFlag) String() string {
	if *s == 0 {
		return ""
	}
	return size(uint64(*s))
}

func (s *sizeFlag) Type() string { return "size" }
