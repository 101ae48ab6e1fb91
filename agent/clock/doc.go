// Package clock knows how far the gateway's wall clock can be trusted, and
// says so in clock messages.
//
// Every message carries the boot and the monotonic time beside the wall time. A
// gateway that boots in 1970 keeps sampling; once its clock is set, the clock
// message maps that boot's monotonic time to UTC, and the data service places
// the earlier readings by it. A step of the wall clock is told in the same way.
//
// It never sets the clock.
package clock
