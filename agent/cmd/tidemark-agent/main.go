// Command tidemark-agent runs on a site's gateway: it reads the devices that the
// site's profile names and brings every reading to the cloud, also over a link
// that comes and goes. Its other commands ask a running agent how it is.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"tidemark/agent/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr, version)
	stop()
	os.Exit(code)
}
