// Package host is the driver for the gateway itself: processor, memory, disks,
// temperatures, network counters, time since boot. A bus of it has no keys; a
// device is any grouping of points, and each point names a metric of [Metrics].
//
// On Linux everything comes from /proc, /sys and statfs(2); see proc(5) and the
// kernel's Documentation/ABI/testing/sysfs-class-thermal. On Windows disks, network
// counters and the time since boot are there; what a system does not offer is
// bad with the reason [drivers.ReasonNotFound], as is an interface or a thermal
// zone that is not there.
//
// The points of a device are read together, and share one time. cpu_pct is the
// mean since the device's last poll; in the first poll it is the mean since boot,
// and therefore uncertain with the reason [ReasonSinceBoot].
//
// It keeps nothing, so there is nothing to promise after a crash. What it never
// does: run a program, need privileges, or write. A disk is asked in the
// goroutine of the bus: a dead network file system holds up this bus, and no other.
//
// Next on the path: the agent's sampler, which calls [Sensor.Read].
package host
