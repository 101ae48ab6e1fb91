// Package drivers is the contract between the agent and the code that reads
// one kind of hardware or protocol.
//
// The words, from the outside in:
//
//   - a [Driver] is what the registry lists: a name, the shape of its part of
//     a profile, and a way to open it;
//   - a bus is the unit that blocks: one serial port, one TCP connection, one
//     recorded file. A profile names it and says which driver serves it;
//   - a [Sensor] is one open bus with all of its devices;
//   - a [ScanSpec] is a fixed list of points that one poll reads in order;
//   - a [Scan] is the outcome of one poll: a time for each group of points that
//     were read together, and for each point a value or the reason why there is none.
//
// The agent calls a sensor from one goroutine only, the one that owns the bus;
// so a driver needs no locks, and a hung bus moves no other bus's schedule.
//
// What a driver never does: return a number for a read that failed, wait
// without watching the context, log, start a goroutine that outlives Close,
// or import the agent or the wire format.
//
// Each driver lies in a folder of its own and passes the suite in
// [tidemark/drivers/drivertest]. The one list of them is [tidemark/drivers/all].
//
// Next on the path: the agent's sampler, which calls [Sensor.Read].
package drivers
