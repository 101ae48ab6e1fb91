// Command tidemark-cloud runs the cloud's services: receiver, rule, data,
// trace, HTTP API and console, in one process or as roles in several.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tidemark/cloud"
)

// version is set by the build.
var version = "dev"

// Exit codes, as sysexits(3) has them.
const (
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := exitUsage
	cfg := cloud.DefaultConfig()
	cfg.Version = version
	quiet := false
	cmd := &cobra.Command{
		Use: "tidemark-cloud", Short: "Receive, keep and serve what Tidemark's gateways send", Version: version,
		SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			code = exitConfig
			if err := cfg.Validate(); err != nil {
				return err
			}
			code = exitFailed
			level := slog.LevelInfo
			if quiet {
				level = slog.LevelWarn
			}
			cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			return cloud.Run(ctx, cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Dir, "data", cfg.Dir, "folder of everything that is kept")
	f.StringSliceVar(&cfg.Roles, "roles", cfg.Roles, "what this process does: "+strings.Join(cloud.Roles(), ", "))
	f.StringVar(&cfg.MQTTListen, "mqtt-listen", cfg.MQTTListen, "loopback address of the embedded MQTT broker")
	f.StringVar(&cfg.MQTT, "mqtt", "", "address of an external MQTT 5 broker instead, such as mqtt://127.0.0.1:1883")
	f.StringVar(&cfg.NATS, "nats", "", "address of an external NATS server with JetStream, instead of the embedded one")
	f.StringVar(&cfg.NATSListen, "nats-listen", "", "loopback address at which the embedded NATS listens for other processes, such as 127.0.0.1:4222")
	f.StringVar(&cfg.HTTPListen, "http-listen", cfg.HTTPListen, "loopback address of API and console")
	f.StringVar(&cfg.Rules, "rules", "", "folder of rule files")
	f.DurationVar(&cfg.Retention, "retention", 0, "how long readings stay in the hot store (default 90 days)")
	f.BoolVar(&cfg.LedgerOff, "ledger-off", false, "do not keep the hop ledger (for measuring what it costs)")
	f.BoolVar(&quiet, "quiet", false, "log warnings and errors only")
	if err := cmd.ExecuteContext(ctx); err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintln(os.Stderr, "tidemark-cloud:", strings.TrimSuffix(line, "\n"))
		}
		stop()
		os.Exit(code)
	}
}
