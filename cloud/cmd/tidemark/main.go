// Command tidemark is the operator's command line; what it does stands in
// package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tidemark/cloud/cli"
)

// version is set when the program is built.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], cli.Env{Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now, Version: version})
	stop()
	os.Exit(code)
}
