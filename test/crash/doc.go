// Package crash proves, with the programs as they are shipped, that a reading which the outbox has committed reaches the
// stream and the warehouse exactly once, or that a dropped message names it: while agent and cloud are killed with SIGKILL at
// random moments over a link that is cut, delayed and reset, with two receivers that race behind a broker that is not ours,
// with bundles duplicated, reordered and replayed, with disks that are full, and with a wall clock that steps.
//
// What was committed is found out without believing the agent: from a copy of its folder as the kill left it, and from what
// its control socket had said before. Readings are told apart by point and time, and each carries a value that follows from
// both, so a lost, doubled or changed one is noticed. The comparison is itself held by a test that spoils the evidence.
//
// Rounds and seed are flags (go test ./test/crash -args -rounds 100 -seed 7); a failure prints the seed.
package crash
