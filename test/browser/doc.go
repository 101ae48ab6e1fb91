// Package browser holds the tests of the console in a real browser: Debian's
// chromium, driven over its debugging protocol. They look at what a person
// would see, and leave screenshots of every page in build/screens, light and
// dark, wide and narrow.
//
// Nothing leaves the machine: the tests fail when a page asks any other host.
package browser
