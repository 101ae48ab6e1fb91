// Package clockstep runs the built agent on a wall clock that steps by a year,
// forward and back, under a real cloud, and counts that nothing is lost.
//
// The machine's clock stays as it is: the agent is built with an overlay of the
// standard library's package time, in which the wall part of time.Now is shifted
// by what a file says, and the monotonic part is not. That is what the kernel
// shows to a process when somebody sets the clock. What it leaves out: the times
// of files, and alarms of the kernel that are set by the wall clock; the agent
// uses neither.
package clockstep
