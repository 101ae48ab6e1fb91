package protocol

// The limits of the wire format. A decoder refuses what is over a limit; an
// encoder never makes it. They are part of the specification.
const (
	// MaxPayload is the largest bundle as published, in bytes.
	MaxPayload = 128 << 10
	// MaxBundle is the largest bundle once it is out of its zstd frame, in bytes.
	MaxBundle = 1 << 20
	// MaxBundleMessages is the largest number of messages in a bundle.
	MaxBundleMessages = 8192
	// MaxBundleReadings is the largest number of readings in a bundle.
	MaxBundleReadings = 1 << 19
	// MaxMessage is the largest encoded message, in bytes.
	MaxMessage = 96 << 10
	// MaxReadings is the largest number of readings (scans times points) in a
	// message: what a decoder may have to allocate for a few bytes of input,
	// since runs of equal values collapse.
	MaxReadings = 1 << 16
	// MaxPoints is the largest number of points in a schema.
	MaxPoints = 4096
	// MaxSchema is the largest encoded schema, in bytes.
	MaxSchema = 256 << 10
	// MaxRanges is the largest number of ranges in a set.
	MaxRanges = 4096
	// MaxText is the longest text value, name, unit or reason, in bytes.
	MaxText = 4096
	// MaxDepth is the deepest nesting of CBOR arrays and maps.
	MaxDepth = 8
)
