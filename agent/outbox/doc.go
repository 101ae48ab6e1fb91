// Package outbox is the gateway's durable queue: what the sampler and the
// other parts of the agent append, the link reads and sends, and only an
// acknowledgement from the cloud deletes.
//
// It owns a folder. The queue is cut into segments, one bbolt file of about
// 8 MiB each, named by the first seq in it, and deleted whole. Messages are
// numbered 1, 2, 3 … within the outbox's epoch and committed in groups, at the
// latest one second after they were appended; urgent ones at once.
//
// After a crash or a power cut every message whose ticket said that it is
// committed is there. A seq that may have been sent is never given again. What
// cannot be read is put aside, what is left in it is salvaged, and the seqs
// that are lost are named in a dropped message, which travels to the cloud
// like any other.
//
// It keeps to a budget of bytes. From 80 % on it thins: about an hour of the
// oldest telemetry at a time becomes messages with one scan a minute, of last,
// minimum, maximum and mean, until 70 % are in use or nothing is left to thin.
// These and the dropped message that names what they stand for are one commit;
// only then the segments are written anew without it. What is not much
// smaller thinned, and the newest segment, stay as they are. At 100 % the
// oldest telemetry goes, then heartbeats, then the rest. README.md of package
// protocol, section Dropped, says how aggregates are named and made.
//
// It never deletes what is not acknowledged without naming it, never starts
// over, and never refuses to open because of what its files hold.
//
// What it costs (BenchmarkCommit, one message of 100 readings in a commit of
// its own, pages of 4096 bytes; Linux 6.18, ext4):
//
//	message    written a commit    on disk a message
//	330 B      10,970 B            379 B
//	420 B      11,010 B            461 B
//
// With the plain shape, one record a key in one bucket, it was 32,600 B and
// 461 B; with pages of 1024 bytes 16,600 B and 527 B. BenchmarkLarge: 100 messages
// of 64 KiB are committed in 10 ms.
//
// Next on the path: [tidemark/agent/link.Link].
package outbox
