package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Env is what the command finds around it.
type Env struct {
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
	Version        string
}

// app is one run of the command.
type app struct {
	env     Env
	server  string
	json    bool
	timeout time.Duration
	color   bool
	client  *client
}

// Run runs the command with args (without the program's name) and returns its
// exit code. It ends when ctx does.
func Run(ctx context.Context, args []string, env Env) int {
	a := &app{env: env, color: isTerminal(env.Stdout) && env.Getenv("NO_COLOR") == ""}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return exitOK // Ctrl-C ends what follows
	}
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	fmt.Fprintf(env.Stderr, "tidemark: %v\n", err)
	if code == exitUsage {
		fmt.Fprintln(env.Stderr, "tidemark --help lists the commands, tidemark COMMAND --help their flags.")
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tidemark",
		Short: "See what a Tidemark cloud knows: sites, gateways, readings, messages, alerts",
		Long: "See what a Tidemark cloud knows: sites, gateways, readings, messages, alerts.\n\n" +
			"Exit codes: 0 ok, 1 failed, 2 usage, 75 temporary (try again), 78 configuration.",
		Version:       a.env.Version,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			var err error
			a.client, err = newClient(a.server, a.timeout)
			return err
		},
	}
	root.SetOut(a.env.Stdout)
	root.SetErr(a.env.Stderr)
	server := a.env.Getenv("TIDEMARK_SERVER")
	if server == "" {
		server = "http://127.0.0.1:8080"
	}
	root.PersistentFlags().StringVar(&a.server, "server", server, "address of the API; TIDEMARK_SERVER sets it too")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the API's answer as JSON")
	root.PersistentFlags().DurationVar(&a.timeout, "timeout", 30*time.Second, "how long to wait for an answer")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(a.sites(), a.gateways(), a.readings(), a.count(), a.messages(), a.alerts(), a.trace())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	for _, c := range append(root.Commands(), root) {
		args := c.Args
		c.Args = func(c *cobra.Command, got []string) error {
			if err := args(c, got); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	return root
}

// isTerminal reports whether w is a terminal, where colours help.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// moment reads a time of a flag: RFC 3339, milliseconds since the Unix epoch,
// or how long ago, such as 15m, 2h or 7d. It returns what the API takes.
func (a *app) moment(flag, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return text, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return strconv.FormatInt(t.UnixMilli(), 10), nil
	}
	ago := text
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			ago = strconv.Itoa(24*n) + "h"
		}
	}
	if d, err := time.ParseDuration(ago); err == nil && d >= 0 {
		return strconv.FormatInt(a.env.Now().Add(-d).UnixMilli(), 10), nil
	}
	return "", usageError{fmt.Errorf("--%s %q is not a time: give RFC 3339 such as 2026-11-21T08:30:00Z, milliseconds since the Unix epoch, or how long ago, such as 15m, 2h or 7d", flag, text)}
}
