//go:build linux

// Demo is the whole of Tidemark on one machine: a tidemark-cloud, two
// tidemark-agents for the sites of sites/, and a boiler room that one of them
// reads over Modbus RTU on a pseudo-terminal. All are the real programs.
//
//	go run ./test/demo [-state DIR] [-bin DIR]
//
// It builds what it runs, prints where to look and what to try, and ends
// everything on Ctrl-C. Keys come by standard input or as signals:
//
//	c, SIGUSR1   cut the link of hilltop-plant; again: restore it
//	k, SIGUSR2   SIGKILL to the agent of hilltop-plant; it is started again after 5 s
//	q            end
//
// It owns the folder of state, in which everything it starts keeps its data and
// its log; starting it again goes on from there. Nothing that it started outlives it,
// even if it is killed itself.
package main
