// Package statefile opens the SQLite file in which a service behind the stream
// keeps what it made of the stream together with the position up to which it
// read, so that both change in one transaction.
//
// The rule and trace services call it; each owns its file and its tables, among
// them one named position. A [File] has one connection that writes and others
// that read while it does.
//
// After SIGKILL every committed transaction is in the file. After a power cut
// the newest may be gone, whole; with them goes the position, and the stream,
// which was written with fsync, gives what they were made of again.
//
// What it never does: look into the tables, change a file that a newer version
// of the program wrote, or remove one that it cannot read.
//
// Next on the path: the rule and trace services.
package statefile
