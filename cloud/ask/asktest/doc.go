// Package asktest answers the questions of the contract from memory, over a
// real embedded bus, for the tests of whoever asks: the HTTP gateway, the
// console and the command line. It stands in for the data, trace and rule
// services where a test needs exact answers, failing ones among them.
package asktest
