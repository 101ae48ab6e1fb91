// Package bus connects the cloud's services to NATS: an embedded server with
// JetStream in this process, or an external one.
//
// The embedded JetStream writes with fsync before it acknowledges
// (sync_interval: always); that is what lets an ack delete at the gateway. An
// external server must be set up so by its operator, and [Open] cannot see
// whether it is.
//
// It owns the streams' and buckets' settings ([Bus.Prepare]) and nothing that
// stands in them. cloud.go opens one bus for all services of a process; the
// tests of each service open their own.
//
// Next on the path: the receiver, which commits bundles to the stream.
package bus
