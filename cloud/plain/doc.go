// Package plain writes numbers, sizes, spans of time, units and values as
// people read them. The console and the command line say the same things with
// it. It has no state and reads no clock.
package plain
