// Package modbus reads Modbus slaves, over a serial line (RTU) or TCP.
//
// It owns what a profile says of slaves, and turns answers into readings; what
// is on the line at any time is package [tidemark/drivers/modbus/line]'s.
//
//   - A plan joins the points of a device into few requests. If the device
//     refuses one, the plan is split until the registers that it does not have
//     are alone; those are left out and tried again now and then. The points of
//     a request share one time, also after it was split.
//   - A breaker for each slave stops asking one that is dead, and probes it with
//     a single request, less and less often up to every 30 s. So it costs its
//     neighbours on the line next to nothing, and is back after an outage in no
//     more time than the outage took.
//
// # Profile
//
//	driver: modbus
//	port: /dev/serial/by-id/usb-FTDI_FT232R-if00-port0   # or tcp: 10.0.0.7:502
//	baud: 9600            # 300 to 4000000
//	parity: none          # none, even, odd
//	data_bits: 8          # RTU has no other
//	stop_bits: 1          # 1, 2
//	timeout: 300ms        # until an answer begins
//	turnaround: 4ms       # silence before a request; 3.5 characters if left out
//	retries: 1            # of a request that got no good answer
//
// A device:
//
//	unit: 1               # the slave's address, 1 to 247; on TCP also 0 and 255
//	max_gap: 8            # registers (times 16 for coils) read in vain to save a request
//	max_registers: 125    # in one request
//	max_coils: 2000
//	word_order: big       # of the registers of a 32- or 64-bit value
//	byte_order: big       # of the bytes of a register
//
// A point names its register by exactly one of coil, discrete, input and
// holding. Addresses are those of the protocol, which count from 0: what a
// manual calls 40101 is "holding: 100".
//
//	holding: 100
//	type: int16           # uint16, int16, uint32, int32, uint64, int64, float32, float64, bool
//	scale: 0.1            # value = raw*scale + offset, computed so that 713 gives 71.3
//	offset: 0
//	word_order: little    # else the device's
//	bit: 3                # one bit of an unsigned register: a bool
//	bits: 4-7             # several, as an unsigned number
//	no_value: 0x8000      # the raw value by which the device says that it has none
//
// A point with scale or offset, or of a float type, is a Float; other numbers
// are Int; coils, discrete inputs, bit and type bool are Bool.
//
// # Reasons
//
// Besides the shared ones: exception_N for Modbus exception N (2 is an address
// that the device does not have; [line.ReasonException] makes the word). A value is
// out of range when it is not a number, is no_value, or is a uint64 above the
// largest int64.
//
// It keeps nothing, so there is nothing to promise after a crash. What it never
// does: write to a device, log, or give a number of which it can't tell that it
// answers the question.
//
// Next on the path: the agent's sampler, which calls the sensor's Read.
package modbus
