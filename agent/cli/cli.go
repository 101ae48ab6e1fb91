package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"tidemark/agent"
)

// Main runs the command that args name and returns what to exit with. ctx ends
// when the process is asked to stop.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer, version string) int {
	root := newRoot(stdout, stderr, version)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		complain(stderr, err)
	}
	return codeOf(err)
}

// commands is what the commands share.
type commands struct {
	cfg     agent.Config // as the flags and the file say
	file    string
	version string
	out     io.Writer
	errs    io.Writer
	json    bool
}

func newRoot(stdout, stderr io.Writer, version string) *cobra.Command {
	c := &commands{cfg: agent.DefaultConfig(), version: version, out: stdout, errs: stderr}
	root := &cobra.Command{
		Use: "tidemark-agent", Short: "Read a site's devices, and bring every reading to the cloud",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.StringVar(&c.file, "config", "", "configuration file; flags override it")
	f.StringVar(&c.cfg.Data, "data", c.cfg.Data, "folder of the outbox")
	f.StringVar(&c.cfg.Socket, "socket", "", "socket of a running agent (default agent.sock in the data folder)")
	root.AddCommand(c.runCommand(), c.statusCommand(), c.tailCommand(), c.outboxCommand(), c.traceCommand(), c.profileCommand(), c.versionCommand())
	return root
}

// load reads the configuration file under the flags that were given.
func (c *commands) load(cmd *cobra.Command) error {
	if c.file == "" {
		return nil
	}
	given := c.cfg
	c.cfg = agent.DefaultConfig()
	if err := agent.LoadConfig(c.file, &c.cfg); err != nil {
		return failed(exitConfig, err)
	}
	for name, take := range map[string]func(){
		"data":    func() { c.cfg.Data = given.Data },
		"socket":  func() { c.cfg.Socket = given.Socket },
		"profile": func() { c.cfg.Profile = given.Profile },
		"broker":  func() { c.cfg.Broker = given.Broker },
		"budget":  func() { c.cfg.Budget = given.Budget },
	} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			take()
		}
	}
	return nil
}

// socket is where the running agent answers.
func (c *commands) socket() string {
	if c.cfg.Socket != "" {
		return c.cfg.Socket
	}
	return filepath.Join(c.cfg.Data, "agent.sock")
}

func (c *commands) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

func (c *commands) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(c.out, "tidemark-agent", c.version, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
			return nil
		},
	}
}
