// Package line puts questions to Modbus slaves and finds their answers, over RTU
// and TCP. It owns the open port or connection, and decides what is on it at any
// time; what the registers mean is its caller's.
//
// The driver in [tidemark/drivers/modbus] calls [Line.Ask]. From the bottom up:
//
//   - A wire is an open port or connection. A port is locked against other
//     programs, and opened anew when it vanishes, when the path leads to another
//     device, or when nothing at all answers on it any more.
//   - An exchange puts one question and waits for its answer. What does not fit
//     the question in unit, function, length and checksum (on TCP also in
//     transaction) is never taken for the answer.
//   - RTU answers carry no number, so after a question that stayed open a late
//     answer could pass for the next one of the same form. The line therefore
//     asks for a different number of registers first, until an answer of that
//     form shows that nothing older is under way.
//
// It keeps nothing, so there is nothing to promise after a crash; the lock on a
// port ends with the process. It never writes to a slave, starts no goroutine that
// outlives a call, and never waits without watching the context.
//
// Sources: MODBUS Application Protocol V1.1b3; MODBUS over Serial Line V1.02,
// 2.5.1.1 (RTU framing, t3.5); MODBUS Messaging on TCP/IP V1.0b.
//
// Next on the path: package modbus, which turns answers into readings.
package line
