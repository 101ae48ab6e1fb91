// Package chunk is the unit that the warehouse stores: the readings of one
// series over some time, as columns.
//
// A [Block] is a chunk in memory, in the shape in which telemetry arrives: raw
// integers stay raw integers, so that storing a reading costs no conversion and
// about as many bytes as its change to the one before. [Block.Encode] and
// [Decode] are exact to the bit of every float.
//
// It does no input or output. A chunk that does not decode is an error, never a
// panic, and never more memory than its readings need.
//
// Next on the path: the warehouse that keeps chunks, in package data.
package chunk
