// Package protocol is the language that gateways and the cloud share: the
// names, the messages, their encoding, and the sets of sequence numbers by
// which nothing is lost. protocol/README.md is its specification; another team
// can write a client from that alone.
//
// From the inside out:
//
//   - a reading is one point's [Value], quality and time;
//   - a [Schema] names the points of a scan once, and is known by its hash;
//   - a [Telemetry] holds the scans of one message as columns of delta integers;
//   - a [Message] is the unit that has an (epoch, seq), a trace id and a body;
//   - a bundle is a CBOR sequence of messages, zstd-framed when that is smaller;
//   - a [Set] is a set of seqs; a tidemark is the Set of an epoch that the
//     cloud has durably committed, and an [Ack] carries it back.
//
// Everything here is a pure function of its input: no clock, no files, no
// network, no logs. Decoders never panic, and return an [*Error] that says what
// was wrong and where. A decoder allocates at most 192 bytes for each byte of its
// input and 64 KiB; [Message.Telemetry] also 96 bytes for each reading of a message
// (of which MaxReadings is the most) and 256 for each point of the schema; what
// takes a bundle out of its frame, MaxBundle twice. Tests measure it.
//
// The agent and the cloud both import this package; it imports neither.
//
// Next on the path: the agent's sampler makes messages, its outbox keeps them.
package protocol
