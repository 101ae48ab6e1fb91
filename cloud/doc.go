// Package cloud wires the cloud's parts; read [Run] first.
//
//	gateways ══ MQTT 5 ══ broker ─ receiver ─ stream ─┬─ rule
//	                                                  ├─ data ─ hot store, roll-ups, lake
//	                                                  └─ trace
//	apps, console ══ HTTP ══ gateway ─ (requests on NATS) ─ rule, data, trace
//
// Services never call each other and never import each other: all that passes
// between them is messages on the bus. One process runs all of them by default,
// on an embedded MQTT broker and an embedded JetStream; with roles, a process
// runs some of them against an external broker and an external NATS.
//
// Next on the path: [tidemark/cloud/broker].
package cloud
