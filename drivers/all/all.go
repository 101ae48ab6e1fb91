// Package all is the one list of the drivers that an agent is built with.
//
// Next on the path: a driver's own package.
package all

import (
	"tidemark/drivers"
	"tidemark/drivers/host"
	"tidemark/drivers/modbus"
	"tidemark/drivers/replay"
)

// Drivers returns them, by name.
func Drivers() []drivers.Driver {
	return []drivers.Driver{
		host.Driver(),
		modbus.Driver(),
		replay.Driver(),
	}
}
