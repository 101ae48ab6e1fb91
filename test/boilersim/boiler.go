package main

import (
	"math"
	"math/rand/v2"
)

// The states of the burner.
const (
	off = iota
	purge
	ignition
	burning
)

// Sizes of the plant: a 60 kW boiler in an old house.
const (
	power     = 60.0  // kW at full burner
	capacity  = 420.0 // kJ/K of boiler and water near it
	house     = 0.80  // kW/K from the radiators' water to outside
	gasEnergy = 36000 // kJ/m3, lower heating value of natural gas
	purgeTime = 8.0   // s
	sparkTime = 3.0   // s
	least     = 45.0  // % that the burner can be turned down to
)

// boiler is the plant's state. It burns to hold a set point that falls as the
// day grows warm, modulates between 45 % and 100 %, and switches off when the
// house takes less than its least power.
type boiler struct {
	clock   float64 // s since the start
	outside float64 // °C
	water   float64 // °C, flow
	back    float64 // °C, return
	flue    float64 // °C
	burner  float64 // %
	bar     float64
	flow    float64 // l/min
	gas     float64 // m3
	set     float64 // °C
	state   int
	inState float64 // s
	starts  uint32
	noise   *rand.Rand
}

func newBoiler(seed uint64) *boiler {
	return &boiler{
		outside: 6, water: 58, back: 46, flue: 48, bar: 1.6, flow: 24,
		gas: 48213.4, starts: 3107, noise: rand.New(rand.NewPCG(seed, 1)),
	}
}

// step lets dt seconds pass; dt is at most 1.
func (b *boiler) step(dt float64) {
	b.clock += dt
	b.outside = 6 + 4*math.Sin(2*math.Pi*b.clock/1800) + 0.3*math.Sin(b.clock/41)
	b.set = min(max(70-1.4*(b.outside-2), 45), 75)
	b.control(dt)

	heat := 0.0
	if b.state == burning {
		heat = power * b.burner / 100
	}
	// People open and close radiator valves.
	valves := 0.75 + 0.2*math.Sin(b.clock/97) + 0.05*math.Sin(b.clock/13)
	load := house * valves * (b.water - 18 - (b.outside-6)*0.8) * 0.9
	b.water += (heat*0.92 - load) / capacity * dt * 6
	b.flow += (20 + 10*valves - b.flow) * dt / 5
	drop := load * 60 / (4.19 * b.flow)
	b.back += (b.water - drop - b.back) * dt / 12
	target := b.water + 3
	if b.state == burning {
		target = b.water + 25 + b.burner*0.65
	}
	b.flue += (target - b.flue) * dt / 20
	b.bar = 1.45 + (b.water-50)*0.006 + 0.004*math.Sin(b.clock/29)
	b.gas += heat / gasEnergy * dt
}

// control runs the burner through its states.
func (b *boiler) control(dt float64) {
	b.inState += dt
	next := b.state
	switch {
	case b.state == off && b.water < b.set-4:
		next = purge
	case b.state == purge && b.inState >= purgeTime:
		next = ignition
	case b.state == ignition && b.inState >= sparkTime:
		next = burning
		b.starts++
		b.burner = 30
	case b.state == burning && b.water > b.set+4:
		next = off
	}
	if next != b.state {
		b.state, b.inState = next, 0
	}
	if b.state != burning {
		b.burner = 0
		return
	}
	want := min(max(55+12*(b.set-b.water), least), 100)
	b.burner += (want - b.burner) * dt / 6
}

// measured adds the noise of a sensor.
func (b *boiler) measured(v, sigma float64) float64 { return v + b.noise.NormFloat64()*sigma }
