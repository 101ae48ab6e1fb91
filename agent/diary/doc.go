// Package diary keeps what the gateway sees of an outage of its link: which
// rung of the ladder fails (interface, route, DNS, TCP, CONNACK, receiver's ack)
// and each change of that, with times.
//
// The first thing that the cloud learns after an outage is its diary. An outage
// that lasts is also put into the outbox while it lasts, so that a gateway that
// loses power meanwhile still tells of it.
//
// It probes only while the link is down, and only the broker's address.
package diary
