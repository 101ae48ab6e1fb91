// Package agent wires the parts of a gateway's agent; read [Run] first.
//
//	driver ─ sampler ─ outbox ─ link ══ MQTT 5 ══ receiver
//	           clock, heartbeat, diary ┘    └ acks
//
// Each part has one blocking Run, and knows the others only as small
// interfaces that it declares itself. What is here joins them and decides in
// which order they stop: samplers first, so that what they read still reaches
// the outbox; then the link; the outbox last, with everything on disk.
//
// Next on the path: [tidemark/agent/sampler].
package agent
