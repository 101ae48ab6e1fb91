package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"tidemark/agent"
	"tidemark/agent/outbox"
	"tidemark/agent/profile"
)

// The exit codes, as sysexits(3) has them from 64 on.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitTemporary = 75
	exitConfig    = 78
)

// failure is an error with the exit code that it means. An error of a command
// that is none is a mistake in how it was called.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(code int, err error) error { return &failure{code, err} }

// codeOf returns what to exit with after err.
func codeOf(err error) int {
	var f *failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f):
		return f.code
	}
	return exitUsage
}

// afterRun says what an error of the agent means.
func afterRun(err error, cfg *agent.Config) error {
	var mistakes *profile.Error
	var file *fs.PathError
	var inUse *outbox.InUseError
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &mistakes), errors.As(err, &file) && file.Path == cfg.Profile:
		return failed(exitConfig, err)
	case errors.As(err, &inUse):
		return failed(exitTemporary, err)
	}
	return failed(exitFailed, err)
}

// complain writes err, each line of it named, but for mistakes in files, which
// begin with their place so that editors find it.
func complain(w io.Writer, err error) {
	var mistakes *profile.Error
	placed := errors.As(err, &mistakes)
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSuffix(line, "\n")
		if placed {
			fmt.Fprintln(w, line)
			continue
		}
		fmt.Fprintln(w, "tidemark-agent:", line)
	}
	if codeOf(err) == exitUsage {
		fmt.Fprintln(w, "tidemark-agent: see tidemark-agent --help")
	}
}
