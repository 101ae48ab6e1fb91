package apidocs

import (
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"
)

// words says what the fields of the contract mean to a client. The contract's
// own comments cannot be read at run time.
var words = map[string]map[string]string{
	"GatewayState": {
		"online": "Whether it is connected now", "session": "Number of its connection; grows with each",
		"since_ms": "Since when online is what it is", "last_seen_ms": "Newest commit, the cloud's clock",
		"agent": "Version of the agent", "profile": "Version of its profile", "epochs": "Tidemarks, the epoch heard from last first",
		"heartbeat_ms": "When the newest heartbeat was made, the gateway's clock", "outbox": "From the newest heartbeat",
		"buses": "From the newest heartbeat", "link": "From the newest heartbeat", "clock": "Quality of the gateway's clock: unknown, set, synced or recorded",
		"outages": "As the gateway saw them, newest first", "account": "Where all its messages are",
	},
	"EpochState": {
		"epoch": "Id of one lifetime of the outbox, 16 hexadecimal digits", "ranges": "Seqs that are durably committed, such as 1-500,602",
		"committed": "How many seqs that is", "dropped": "Seqs that will never come, and why",
	},
	"Account": {
		"in": "Messages that the outbox has numbered", "out": "Committed in the cloud", "in_flight": "In the outbox or on the way",
		"dropped": "Given up at the gateway, each with a cause", "dead": "Refused by the cloud, each with a reason",
	},
	"OutboxState": {
		"depth": "Messages that wait", "bytes": "Size on disk", "oldest_age_ms": "Age of the oldest that waits", "next_seq": "Seq of the next message",
		"dropped": "Messages given up", "quarantined": "Segments put aside because they were damaged", "budget_bytes": "What it may use on disk",
	},
	"BusState": {
		"points": "Points on the bus", "fresh": "Points with a good reading within three intervals", "good": "Good readings since the heartbeat before", "bad": "Bad readings since the heartbeat before", "reason": "Of the newest bad reading",
	},
	"LinkState": {
		"ack_ms": "From publish to ack, in milliseconds", "drain_eta_ms": "When the backlog will be gone, in milliseconds", "rung": "What fails, if something does",
	},
	"Reading": {
		"point": "device.point", "time_ms": "When it was read; placed by the gateway's clock messages where its clock was not known",
		"raw_time_ms": "The time by the gateway's own clock, if it differs", "value": "Number, boolean or text; null if the quality is bad; NaN and infinities as text",
		"quality": "good, uncertain or bad", "reason": "Why the quality is not good",
	},
	"Rollup": {
		"time_ms": "Start of the interval", "count": "Good and uncertain readings", "bad": "Bad readings", "min": "Void if count is 0, as are the others",
	},
	"Series": {"point": "device.point", "kind": "float, int, bool or text", "newest": "Its newest reading"},
	"MessageRow": {
		"seqs": "The seqs that the row stands for", "trace_id": "Of its first seq", "time_ms": "When it was queued, the gateway's clock",
		"sequence": "Position in the stream", "committed_ms": "When it was committed, the cloud's clock", "response_code": "ok, failed, ignored, rejected or timeout",
	},
	"Hop": {
		"stage": "sampled, queued, sent, received, committed, ruled, stored or served", "time_us": "When it passed, in microseconds; 0: it has not",
		"action_duration_time_us": "Time spent in this hop, in microseconds", "clock": "Whose clock: gateway or cloud",
	},
	"Alert": {
		"id": "Stable over restarts", "fired_ms": "Event time at which the condition had held for its time", "since_ms": "Event time at which it began to hold",
		"values": "The points of the condition when it fired", "trace_id": "Of the message that fired it", "state": "firing or cleared",
	},
	"RuleInfo": {"condition": "In CEL", "for_ms": "How long it must hold", "firing": "How many alerts of it fire now", "error": "The newest error of its condition"},
}

// Explain adds to the document what the fields mean.
func Explain(spec *huma.OpenAPI) {
	for name, s := range spec.Components.Schemas.Map() {
		for field, text := range words[name] {
			if p := s.Properties[field]; p != nil && p.Ref == "" {
				p.Description = text
			}
		}
	}
}

func jsonText(v any) string {
	b, _ := json.Marshal(v) // examples and defaults, which are plain
	return string(b)
}
