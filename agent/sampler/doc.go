// Package sampler polls the devices of one bus on schedule and turns what it
// reads into telemetry messages.
//
// agent.go runs one [Bus] for each bus of the profile, since a bus is the unit
// that blocks: a port that hangs moves no other bus's schedule. Within a bus one
// goroutine calls the driver, and one gathers scans and appends messages, so
// that waiting for the outbox does not shift a poll.
//
// A failed read is a reading of quality bad with the reason; no number is ever
// made up. Inside its deadband a point has no reading. Times are monotonic
// within a message: a step of the wall clock moves whole messages, never the
// distance between two readings.
//
// Nothing here is durable: what was read since the last message, at most one
// commit interval, is lost with the process. From [Queue] on nothing is.
//
// Next on the path: [tidemark/agent/outbox].
package sampler
