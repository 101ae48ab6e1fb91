// Package readme keeps README.md true: every command in its sh blocks is really run, against the programs as they are built
// and a cloud with two sites; what a text block below a command shows must be what that command prints; and every link
// must lead somewhere.
//
// A command without a runner fails the test. Targets of make that take long, or are what runs this test, are not run again:
// they must exist, and [proven] names what runs them.
package readme
