// Package data is the warehouse and the lake: it stores every reading that the
// device stream holds, exactly once, and answers for it.
//
//	data bridge → ETL → model → hot store → lake
//	stream.Reader  etl.go  model.go  flush.go, partition.go  seal.go, package lake
//
// cloud.go starts it with [Service.Run]. Other services ask it over NATS, by the
// requests that package contract declares.
//
// The hot store is SQLite: one file for each UTC day of reading time, which
// holds chunks of readings (package chunk) and, in the same transaction, the
// position in the stream up to which that file is complete. What arrived since
// the last flush is in memory, where queries see it too. data.db names the
// series and holds the position up to which all files are complete; it is
// written last. After a crash the stream is read again from that position, and
// each file leaves out what it has: every reading is stored exactly once,
// whichever of the files were written.
//
// An hour that is over and quiet is sealed: its small chunks are merged, its
// roll-ups are written, and a Parquet part goes to the lake. Until then roll-ups
// are computed from the readings when they are asked for, so that they always
// agree with the readings, late ones too.
//
// A file that is damaged is set aside and named, and the service goes on.
//
// It never changes a value, never drops a reading before its retention, and
// never answers a bare empty: each answer says how far it reaches, and why
// there is nothing.
//
// Next on the path: the HTTP API, which asks for what it serves.
package data
