// Boilersim is a boiler room that does not exist: a gas boiler behind a Modbus
// RTU slave on a pseudo-terminal, as a process of its own. The demo's agent reads
// it as it would read a real one.
//
//	boilersim -link PATH [-unit N] [-speed F]
//
// It makes PATH a symbolic link to its port, prints "ready PATH", and answers until
// it gets SIGINT or SIGTERM, or until the pipe that is its standard input ends.
// Lines on standard input make faults; each is answered by a line on standard output:
//
//	unplug    the port vanishes, as if the adapter was pulled out     "unplugged"
//	plug      and comes back                                          "ready PATH"
//	nak       the slave refuses every request with exception 4        "refusing"
//	ok        and answers again                                       "answering"
//
// Anything else is answered by "error: ..." and changes nothing.
//
// # Registers
//
// As points of a profile, for driver modbus with "unit: 1" for the device:
//
//	points:
//	  - {name: boiler_temp,   unit: Cel,  input: 0, type: int16, scale: 0.1}
//	  - {name: return_temp,   unit: Cel,  input: 1, type: int16, scale: 0.1}
//	  - {name: outside_temp,  unit: Cel,  input: 2, type: int16, scale: 0.1}
//	  - {name: pressure,      unit: kPa,  input: 3, scale: 0.1}
//	  - {name: flue_temp,     unit: Cel,  input: 4, type: float32}
//	  - {name: burner,        unit: "%",  input: 6}
//	  - {name: state,                     input: 7}    # 0 off, 1 purge, 2 ignition, 3 burning
//	  - {name: gas,           unit: m3,   input: 8, type: uint32, scale: 0.001}
//	  - {name: starts,                    input: 10, type: uint32}
//	  - {name: flow,          unit: l/min, input: 12, scale: 0.1}
//	  - {name: setpoint,      unit: Cel,  holding: 0, type: int16, scale: 0.1}
//	  - {name: pump,                      coil: 0}
//	  - {name: flame,                     discrete: 0}
//	  - {name: low_water,                 discrete: 1}
package main
