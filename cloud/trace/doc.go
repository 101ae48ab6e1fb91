// Package trace is the hop ledger: for every message that the platform has
// seen it keeps when it passed each stage and how it ended, and answers where
// a message is or where it stopped. It also keeps the state of every gateway
// as its messages tell it, and the account that must balance: in = out + in
// flight + dropped + dead.
//
// It owns one SQLite file. [Service.Run] reads the device stream, the dead
// letters in their stream, the hop marks that the other services say on
// NATS, and the presence bucket; it answers the requests of package contract
// through nats.go/micro. cloud.go starts it; nothing waits for it, so a slow or
// stopped ledger slows no reading.
//
// A message is a row with no reading in it: its type, seqs, times, size and
// outcome. Telemetry messages that stand next to each other in a bundle share a
// row, in which each takes some six bytes, so that the ledger stays cheap when
// a backlog arrives as thousands of small messages; queries take them apart
// again. Columns are never decoded.
//
// After a crash: its positions in both streams are written in the transaction
// of the rows that they stand for, so after SIGKILL each message is in the
// ledger once. After a power cut some 250 ms of rows may be gone, with the
// positions; they are read from the stream again. Hop marks that were said while
// it was down are lost: what they would have marked is taken to have passed at
// the next mark, or is asked of the service itself.
//
// It never keeps a reading's value, and never writes to a stream.
//
// Next on the path: the API, which serves what is answered here.
package trace
