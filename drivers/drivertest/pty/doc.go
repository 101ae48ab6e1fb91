// Package pty makes pseudo-terminals that stand in for serial ports: one end is
// a path that any program opens as it opens /dev/ttyUSB0, the other end is a
// reader and writer in this process. A [Cable] joins two of them, so that two
// programs that each open a serial port talk to each other, and lets a test
// damage, delay or swallow what passes, or unplug the driver's end.
//
// Tests of drivers and the simulated devices of the demo use it. It needs no
// privileges and no other program. It works on Linux; elsewhere [Open] says so.
//
// What it never does: emulate a line rate, or outlive the process that made it.
package pty
