//go:build linux

// Package peer measures what a user would build instead of Tidemark: Mosquitto on the gateway bridging to Mosquitto in the
// cloud, with an unlimited queue and persistence, the classic store and forward. `make bench` runs it beside ours, on the same
// data, through the same counting proxy, in the same run.
//
// One reading is a SenML record (RFC 8428), a message is a JSON pack of one sweep (100 readings), published with QoS 1. The
// edge broker, the hub broker, a publisher on the edge and a subscriber on the hub run on loopback; the proxy stands in the
// bridge. What arrives is counted reading by reading, so a loss or a duplicate is a number and not an impression.
//
// It writes below Config.Dir only, and ends every process that it started. It needs Debian's mosquitto.
package peer
