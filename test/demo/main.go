//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	d := &demo{out: os.Stdout, in: os.Stdin}
	flag.StringVar(&d.state, "state", "build/demo", "folder of everything that the demo keeps, from the checkout")
	flag.StringVar(&d.bin, "bin", "bin", "folder of the three programs; they are built into it first")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "demo: it takes flags only: -state DIR, -bin DIR")
		os.Exit(2)
	}
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}
