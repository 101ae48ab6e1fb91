// Package arch holds the laws of the code base as tests: who may import whom, what stands at the top level, what the programs
// may link, how thin a main is, and what every package must say about itself.
//
// A law that a test does not hold is a wish. Each checker is also run against made-up violations, so that a law that has gone
// blind is noticed. When a law stands in the way of better code, change it here and say why, in the same commit.
package arch
