//go:build linux

// Package netcount is a TCP proxy that counts what a link carries: payload bytes and TCP segments, both ways, and that can cut
// and restore the link.
//
// It owns one listening address and the connections through it; `make bench` puts it between a gateway and its cloud, ours
// and the peer's alike, so that both are counted by the same instrument. Counts are taken on the sockets towards the client:
// the kernel's TCP_INFO knows every segment there, pure acknowledgements included. The connection to the target is not counted.
// The segment size offered to the client is that of Ethernet, so loopback does not flatter with 64 KiB segments.
//
// It keeps nothing on disk and promises nothing after a crash. It never changes, delays or reorders a byte.
package netcount
