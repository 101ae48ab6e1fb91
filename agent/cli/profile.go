package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"tidemark/agent/profile"
	"tidemark/drivers/all"
)

func (c *commands) profileCommand() *cobra.Command {
	parent := &cobra.Command{Use: "profile", Short: "Work with profiles"}
	parent.RunE = func(*cobra.Command, []string) error {
		return errors.New("profile: say what to do with it, as in: tidemark-agent profile check FILE")
	}
	parent.AddCommand(&cobra.Command{
		Use: "check FILE", Short: "Say every mistake in a profile, with its place", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := profile.Load(args[0], all.Drivers())
			if err != nil {
				return unfit(err)
			}
			fmt.Fprintf(c.out, "%s: fit to run: %s/%s, %s, %s, version %s\n", args[0], p.Site, p.Gateway,
				many(uint64(len(p.Buses)), "bus", "buses"), many(uint64(p.Points()), "point", "points"), p.Hash)
			return nil
		},
	})
	return parent
}

func unfit(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) && !errors.Is(err, fs.ErrNotExist) {
		return failed(exitFailed, err)
	}
	return failed(exitConfig, err)
}
