// Package drivertest is the suite that every driver passes: [Run] holds a
// driver to what package drivers promises the agent.
//
// A driver's own test describes in a [Subject] how to start the thing that it
// reads, as real as can be had: a device on a pseudo-terminal from
// [tidemark/drivers/drivertest/pty], a program that is not ours, a file. The
// suite then checks
//
//   - that Open touches no hardware, and missing hardware makes bad readings;
//   - that Scans is fixed, complete and adds up;
//   - that readings have the types and times that Scans promised, and a failed
//     one carries a reason and no value;
//   - that a Read ends soon after its context, and soon after Close;
//   - that readings turn bad when the hardware goes, and good when it is back;
//   - that Validate reports all mistakes at once, each at its key;
//   - that no goroutine outlives Close.
//
// What it never does: know anything of one driver. What only one driver does is
// tested beside that driver.
//
// Next on the path: a driver, for example [tidemark/drivers/modbus].
package drivertest
