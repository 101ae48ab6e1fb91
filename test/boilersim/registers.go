package main

import (
	"math"

	"tidemark/drivers/modbus/slave"
)

// show puts what the boiler's sensors measure into the registers that doc.go lists.
func show(b *boiler, bank *slave.Bank) {
	flue := math.Float32bits(float32(b.measured(b.flue, 0.4)))
	gas := uint32(b.gas * 1000)
	bank.Set(slave.Input, 0,
		tenths(b.measured(b.water, 0.05)),
		tenths(b.measured(b.back, 0.05)),
		tenths(b.measured(b.outside, 0.03)),
		uint16(math.Round(b.measured(b.bar, 0.002)*1000)), // 0.1 kPa
		uint16(flue>>16), uint16(flue),
		uint16(math.Round(b.burner)),
		uint16(b.state),
		uint16(gas>>16), uint16(gas),
		uint16(b.starts>>16), uint16(b.starts),
		tenths(b.measured(b.flow, 0.08)),
	)
	bank.Set(slave.Holding, 0, tenths(b.set))
	bank.Set(slave.Coil, 0, 1)
	bank.Set(slave.Discrete, 0, truth(b.state == burning), truth(b.bar < 0.8))
}

// tenths returns v as an int16 of tenths.
func tenths(v float64) uint16 { return uint16(int16(math.Round(v * 10))) }

func truth(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}
