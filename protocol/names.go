package protocol

import (
	"fmt"
	"strings"
)

// ValidName reports whether s can name a site, gateway, device or point: it
// matches [a-z0-9][a-z0-9_-]{0,62}, so it is one MQTT topic level and one NATS
// subject token.
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '_' && c != '-') {
			return false
		}
	}
	return true
}

// ValidPointName reports whether s is device.point with two valid names.
func ValidPointName(s string) bool {
	device, point, ok := strings.Cut(s, ".")
	return ok && ValidName(device) && ValidName(point)
}

// Gateway is the address of a gateway.
type Gateway struct{ Site, Name string }

func (g Gateway) String() string { return g.Site + "/" + g.Name }

// ParseGateway reads "site/gateway".
func ParseGateway(s string) (Gateway, error) {
	site, name, ok := strings.Cut(s, "/")
	g := Gateway{site, name}
	if !ok || !ValidName(site) || !ValidName(name) {
		return Gateway{}, refuse(ReasonName, "", "%q is not an address of the form site/gateway", s)
	}
	return g, nil
}

// The MQTT topics of a gateway, and with "." for "/" the NATS subjects.

// UpTopic is where the gateway publishes bundles, QoS 1.
func (g Gateway) UpTopic() string { return "device/" + g.String() + "/up" }

// PresenceTopic is where the gateway's birth and last will stand, retained.
func (g Gateway) PresenceTopic() string { return "device/" + g.String() + "/presence" }

// AckTopic is where the gateway hears its tidemark.
func (g Gateway) AckTopic() string { return "service_platform/" + g.String() + "/ack" }

// CommandTopic is where the gateway hears requests.
func (g Gateway) CommandTopic() string { return "service_platform/" + g.String() + "/command" }

// DesiredTopic is where the gateway's desired twin stands, retained.
func (g Gateway) DesiredTopic() string { return "service_platform/" + g.String() + "/desired" }

// UpSubject is the NATS subject of the gateway's committed bundles.
func (g Gateway) UpSubject() string { return "device." + g.Site + "." + g.Name + ".up" }

// ParseTopic splits an MQTT topic (or, with dots, a NATS subject) of one of
// the forms above into its root, gateway and last level.
func ParseTopic(topic string) (root string, g Gateway, leaf string, err error) {
	sep := "/"
	if !strings.Contains(topic, sep) {
		sep = "."
	}
	p := strings.Split(topic, sep)
	if len(p) != 4 || p[0] != "device" && p[0] != "service_platform" {
		return "", Gateway{}, "", refuse(ReasonName, "", "topic %.200q is not one of a gateway", topic)
	}
	if !ValidName(p[1]) || !ValidName(p[2]) {
		return "", Gateway{}, "", refuse(ReasonName, "", "topic %.200q does not name a site and a gateway", topic)
	}
	return p[0], Gateway{p[1], p[2]}, p[3], nil
}

// ResponseCode is the outcome class of a message or request.
type ResponseCode string

// The response codes. A failure also carries a reason and one sentence.
const (
	OK       ResponseCode = "ok"
	Failed   ResponseCode = "failed"
	Ignored  ResponseCode = "ignored"  // duplicate, superseded or expired
	Rejected ResponseCode = "rejected" // not valid or not allowed
	Timeout  ResponseCode = "timeout"
)

// Valid reports whether c is one of the response codes.
func (c ResponseCode) Valid() bool {
	switch c {
	case OK, Failed, Ignored, Rejected, Timeout:
		return true
	}
	return false
}

// Stage is one stage that a message passes, the name of a hop.
type Stage string

// The stages in the order in which a message passes them.
const (
	Sampled   Stage = "sampled"
	Queued    Stage = "queued"
	Sent      Stage = "sent"
	Received  Stage = "received"
	Committed Stage = "committed"
	Ruled     Stage = "ruled"
	Stored    Stage = "stored"
	Served    Stage = "served"
)

// Type is the type of a message.
type Type uint8

// The types of messages. Numbers are never reused.
const (
	TypeSchema    Type = 0 // a schema travelling with the messages that need it; has no seq
	TypeTelemetry Type = 1 // scans of readings
	TypeHeartbeat Type = 2 // the gateway's state, at an interval
	TypeDropped   Type = 3 // a range of seqs that the outbox lost or gave up, and why
	TypeClock     Type = 4 // what a boot's monotonic time is in UTC
	TypeOutage    Type = 5 // the diary of an outage of the link
	TypeEvent     Type = 6 // something that happened at the gateway
	TypeReply     Type = 7 // the outcome of a request
)

var typeNames = [...]string{"schema", "telemetry", "heartbeat", "dropped", "clock", "outage", "event", "reply"}

// Known reports whether this version knows the type.
func (t Type) Known() bool { return int(t) < len(typeNames) }

func (t Type) String() string {
	if t.Known() {
		return typeNames[t]
	}
	return fmt.Sprintf("type_%d", uint8(t))
}

// ParseType is the inverse of String for known types.
func ParseType(s string) (Type, bool) {
	for i, n := range typeNames {
		if n == s {
			return Type(i), true
		}
	}
	return 0, false
}
