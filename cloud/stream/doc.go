// Package stream reads the device stream for the services behind it: every
// committed bundle once, in order, from a position that the service keeps
// itself, with the schemas that its telemetry needs.
//
// A service stores its position together with what it made of the bundles, in
// one transaction; after a crash it starts a [Reader] behind that position, so
// each bundle has its effect exactly once. A Reader keeps nothing.
//
// Next on the path: the data, rule and trace services.
package stream
