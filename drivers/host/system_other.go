//go:build !linux && !windows

package host

import "tidemark/drivers"

// system is one of which nothing is known.
type system struct{}

func newSystem() system { return system{} }

func (*system) begin() {}

func (*system) read(*Point, *cpuMeter) (drivers.Value, error) {
	return drivers.Value{}, errUnsupported
}
