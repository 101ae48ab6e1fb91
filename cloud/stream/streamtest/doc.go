// Package streamtest gives a test the device stream as a service meets it: a
// real embedded bus in a folder of the test ([Lab]), bundles and dead letters
// on it as the receiver commits them, questions to the service ([Ask]), and the
// service itself in a process of its own that can be killed ([StartProcess]).
//
// The tests of the services behind the stream call it. After a process was
// killed the bus is as it was; a new process goes on with the same folder.
//
// What it never does: know what a service makes of a bundle, or imitate the
// bus.
//
// Next on the path: the tests of the data, rule and trace services.
package streamtest
