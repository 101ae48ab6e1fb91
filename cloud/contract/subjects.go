package contract

import "tidemark/protocol"

// The streams (JetStream) and buckets (its key-value stores).
const (
	// StreamDevice holds the committed bundles, one subject a gateway. It is the ledger.
	StreamDevice = "DEVICE"
	// StreamPlatform holds what the platform itself says durably: alerts.
	StreamPlatform = "PLATFORM"
	// StreamDead holds the dead letters, apart from what they could push out.
	StreamDead = "DEAD"
	// BucketSchemas maps a schema's id in hex to its encoding.
	BucketSchemas = "schemas"
	// BucketPresence maps site.gateway to a [Presence] as JSON.
	BucketPresence = "presence"
	// BucketTidemarks maps site.gateway to a [TidemarkSnapshot] as JSON, for
	// gateways whose last bundle has left the stream.
	BucketTidemarks = "tidemarks"
)

// Subjects.
const (
	SubjectsDevice = "device.*.*.up"
	SubjectsAlert  = "service_platform.alert.>"
	SubjectsDead   = "service_platform.dead.>"

	// SubjectHop carries a [HopMark] for each step of a service; the stage is the last token.
	SubjectHop = "service_platform.hop."
	// SubjectLive carries [LiveReadings] as JSON while somebody holds a lease; site and gateway follow.
	SubjectLive = "data_platform.live."

	// SubjectSealed carries a [LakeSealed] as JSON for each part that was added to the lake; the site follows.
	SubjectSealed = "data_platform.lake.sealed."

	// Requests, answered through nats.go/micro.
	ReqSeries   = "data_platform.query.series"      // SeriesQuery → SeriesResult
	ReqReadings = "data_platform.query.readings"    // ReadingsQuery → ReadingsResult
	ReqCount    = "data_platform.query.count"       // CountQuery → CountResult
	ReqLease    = "data_platform.query.lease"       // LiveLease → LiveLease
	ReqGateways = "service_platform.trace.gateways" // GatewaysQuery → GatewaysResult
	ReqMessages = "service_platform.trace.messages" // MessagesQuery → MessagesResult
	ReqTrace    = "service_platform.trace.trace"    // TraceQuery → TraceResult
	ReqAlerts   = "service_platform.rule.alerts"    // AlertsQuery → AlertsResult
	ReqRules    = "service_platform.rule.rules"     // RulesQuery → RulesResult
)

// AlertSubject is where the alerts of a site are said.
func AlertSubject(site string) string { return "service_platform.alert." + site }

// DeadSubject is where the dead letters of a gateway go.
func DeadSubject(g protocol.Gateway) string { return "service_platform.dead." + g.Site + "." + g.Name }

// Key is a gateway's key in the buckets.
func Key(g protocol.Gateway) string { return g.Site + "." + g.Name }

// Headers of what stands in the streams.
const (
	HeaderTidemark    = "Tidemark"          // protocol.Tidemarks of the gateway with this bundle in it
	HeaderSent        = "Tidemark-Sent"     // milliseconds since the Unix epoch, the gateway's clock
	HeaderReceived    = "Tidemark-Received" // microseconds since the Unix epoch, the receiver's clock
	HeaderTraceparent = "Traceparent"       // of the bundle's first message
	HeaderReason      = "Tidemark-Reason"   // dead letters: machine-readable
	HeaderText        = "Tidemark-Text"     // dead letters: one sentence
	HeaderEpoch       = "Tidemark-Epoch"    // dead letters: 16 hexadecimal digits, if it is known
	HeaderSeqs        = "Tidemark-Seqs"     // dead letters: protocol.Set, if it is known
	HeaderType        = "Tidemark-Type"     // dead letters: message type, if it is known
)

// Presence is the value of BucketPresence.
type Presence struct {
	Online   bool   `json:"online"`
	Session  uint64 `json:"session"`
	Epoch    string `json:"epoch"`
	Since    int64  `json:"since_ms"` // the receiver's clock
	Agent    string `json:"agent,omitempty"`
	Profile  string `json:"profile,omitempty"`
	Graceful bool   `json:"graceful,omitempty"`
}

// TidemarkSnapshot is the value of BucketTidemarks.
type TidemarkSnapshot struct {
	Tidemarks string `json:"tidemarks"` // as the Tidemark header
	Sequence  uint64 `json:"sequence"`  // of the bundle in StreamDevice that it was taken from
}

// HopMark says that a service has done its step for everything in StreamDevice
// up to a position.
type HopMark struct {
	Stage   protocol.Stage `json:"stage"`
	Through uint64         `json:"through"` // sequence in StreamDevice
	TimeUs  int64          `json:"time_us"` // microseconds since the Unix epoch
}
