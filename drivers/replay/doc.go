// Package replay is the driver that reads a recorded CSV of time,point,value as
// if its points were wired to this gateway: at the speed at which they were
// recorded, at a factor of it, or as fast as the caller takes them.
//
// A row is one reading: an RFC 3339 time, the point as device.point, and its
// value. Fields are quoted as RFC 4180 says, but a field never spans lines, so
// that a stray quotation mark costs one row and not the rest of the file. A first
// row that reads time,point,value is a heading; the last row needs no newline.
//
// One bus is one file, and one scan covers all points that the profile lists for
// it, in the profile's order. A sweep, which is one poll of that scan, takes rows
// until a point comes again or goes backwards in that order, or the time goes
// backwards or more than [MaxSpan] on; so points are best listed in the order
// in which they were recorded. Rows of points that the profile does not list are
// counted and passed over.
//
// A row that can't be read makes no number: its point is bad for that sweep, with
// the reason [ReasonFormat] or [drivers.ReasonRange], and [Sensor.Stats] tells
// file, line and mistake. A file that is missing, or has no row of a listed
// point, fails the whole poll, and is tried again once a second.
//
// After a crash nothing is promised: a replay starts again at the first row.
//
// What it never does: read a file as a whole, keep more than one row beyond
// [MaxRow], write, or start a goroutine.
//
// Next on the path: the agent's sampler, which calls [Sensor.Read].
package replay
