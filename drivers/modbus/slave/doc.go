// Package slave answers as a Modbus RTU slave on anything that carries bytes: a
// serial port, or a pseudo-terminal from [tidemark/drivers/drivertest/pty].
//
// The simulated devices of the demo and of tests use it. It serves reads of all
// four tables; what is not in them, and every other function, it refuses with the
// exception that the standard has for it. Damaged requests and those for other
// units it passes over in silence, as a slave on a shared line must.
//
// What it never does: keep time. It finds requests by length and checksum, not
// by the silence between them, which a byte stream does not show.
package slave
