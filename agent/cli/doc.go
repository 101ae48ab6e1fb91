// Package cli is the commands of tidemark-agent: run, which is the agent
// itself, and what a technician asks a running one on the same machine: status,
// tail, outbox and trace, over the socket of [tidemark/agent/control]; and
// profile check, which needs no agent.
//
// Answers go to standard output, for people or as JSON; what went wrong goes to
// standard error, one sentence a line, and the exit code says which kind it is.
// Only run changes anything.
//
// Next on the path: [tidemark/agent.Run].
package cli
