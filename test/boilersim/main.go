package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var in io.Reader = os.Stdin
	if st, err := os.Stdin.Stat(); err == nil && st.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		in = unending{os.Stdin} // /dev/null and a terminal's end of file end nothing
	}
	err := run(ctx, os.Args[1:], in, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "boilersim:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "boilersim:", err)
		os.Exit(1)
	}
}

// unending waits for ever at the end of a file.
type unending struct{ r io.Reader }

func (u unending) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if n > 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		select {}
	}
	return n, err
}
