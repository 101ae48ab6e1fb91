// Package gateway is the HTTP API: what apps, the console's pages in the
// browser and the operator's command line ask of the platform.
//
// It owns the addresses under /api, /healthz and /metrics, and what stands
// between a client and the services: request ids, limits, security headers,
// the access log. It holds no logic and no data: each answer is gathered from
// the data, trace and rule services by requests over NATS ([ask.Do]), so a
// service that is down is a 503 that names it, and nothing else suffers.
//
// cloud.go calls [New] and [Gateway.Run]. After a crash there is nothing to
// recover; clients of the live tail connect again.
//
// It never listens on anything but loopback: there are no users yet, so
// whoever can connect may read. It never answers a bare empty: readings carry
// as_of, lag and missing_reason.
//
// Next on the path: whoever reads, and the console.
package gateway
