package drivers

import (
	"context"
	"time"
)

// Driver describes one kind of hardware or protocol to the registry.
// Drivers are values in a list; nothing registers itself.
type Driver struct {
	// Name is what a profile says after "driver:".
	Name string
	// Version changes when the driver's part of a profile, or the meaning of
	// what it reads, changes.
	Version string
	// Summary says in one line what it reads.
	Summary string

	// Bus, Device and Point return a new zero configuration with its defaults
	// set, for the driver's own keys at that level of a profile. A nil function
	// means that the driver has no keys there. What they return is a pointer to
	// a struct with yaml tags; the profile's reader decodes into it, refusing
	// unknown keys, and then calls Validate.
	Bus    func() Config
	Device func() Config
	Point  func() Config

	// Open makes a sensor of a bus. It touches no hardware: a port that is
	// missing now shows as bad readings, and as good ones when it comes back.
	// An error means that the configuration can't work at all.
	Open func(BusSpec) (Sensor, error)
}

// Config is a driver's own part of a profile.
type Config interface {
	// Validate returns every mistake, joined, each a *[FieldError] where it
	// belongs to one key, so that a person sees its line and column.
	Validate() error
}

// BusSpec is what a profile says about one bus.
type BusSpec struct {
	Name    string
	Config  Config // what Driver.Bus returned, filled in; nil if Bus is nil
	Devices []DeviceSpec
}

// DeviceSpec is what a profile says about one device on a bus.
type DeviceSpec struct {
	Name     string
	Interval time.Duration // between two polls; more than 0
	Config   Config
	Points   []PointSpec
}

// PointSpec is what a profile says about one point of a device.
type PointSpec struct {
	Name   string
	Unit   string // RFC 8428 unit, or empty to take the driver's
	Config Config
}

// Sensor is one open bus with its devices. Its methods are called from one
// goroutine; only Close may come from another, and ends a Read in progress.
type Sensor interface {
	// Scans lists the polls that this bus consists of. It is fixed for the
	// sensor's life.
	Scans() []ScanSpec

	// Read does poll i of Scans and fills s, which the caller has cleared with
	// [Scan.Reset]. A point that could not be read gets [Scan.Fail]; that is no
	// error of Read. The error says that the poll as a whole gave nothing that
	// can be used: then the caller marks every point bad with the reason that
	// [ReasonOf] finds in it. io.EOF says that a self-paced poll has come to
	// its end and is not to be called again.
	//
	// Read returns soon after ctx is done, with ctx's error.
	Read(ctx context.Context, i int, s *Scan) error

	// Close releases the bus. It may be called once.
	Close() error
}

// ScanSpec is a fixed list of points that one poll reads in order.
type ScanSpec struct {
	// Device names the device for people; empty if the poll spans several.
	Device string
	// Interval is the time between two polls. Zero means self-paced: Read
	// blocks until there is something, and is called again at once.
	Interval time.Duration
	// Points in reading order.
	Points []Point
	// Groups holds the sizes of the runs of consecutive points that share one
	// time; they add up to len(Points). Points that one request reads stand in
	// one group.
	Groups []int
	// Recorded says that times come from a recording, not from this
	// machine's clock, and must not be corrected by it.
	Recorded bool
}

// Point is one measured quantity as a driver offers it.
type Point struct {
	Device, Name string
	Unit         string // RFC 8428 unit, empty for none
	Type         Type
	Scale        Scale // how values come from raw registers, for Float points
}

// Type is the type of a point's values.
type Type uint8

// The types of values.
const (
	Float Type = iota
	Int
	Bool
	Text
)

// Scale is the linear transform by which a Float point's values come from the
// integers that the hardware holds: value = raw*Num/Den + Offset, in float64, in
// that order. It lets the wire carry the small integers instead of the floats.
// It is a hint: a value that it does not give exactly is carried as it is.
// The zero Scale means that nothing is known.
type Scale struct {
	Num, Den, Offset float64
	// Float32 says that the hardware holds IEEE 754 binary32 values; the other
	// fields are then zero.
	Float32 bool
}
