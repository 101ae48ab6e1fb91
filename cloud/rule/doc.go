// Package rule evaluates rules on the readings of the device stream and keeps
// the alerts that they fire.
//
// It owns the rules' files (it reads them), one SQLite file with the state of
// every rule at every gateway and the alerts, and what stands in the platform
// stream under service_platform.alert. cloud.go starts it; it answers the
// requests of package contract through nats.go/micro, and says a hop mark when
// it has seen an entry.
//
// # What a rule means
//
// A rule is evaluated for each gateway by itself (of its site, or of all), in
// the gateway's event time: at the time of each reading of a point that its
// conditions name, with the newest reading of each. It fires when "when" has
// been true at every evaluation over at least "for", and clears when
// "clear_when", or else not "when", is true.
//
// A condition that needs a point whose newest reading is bad, or that has no
// reading yet, is unknown. Unknown neither fires nor clears nor begins anything
// anew: what had begun goes on at the next evaluation that is not unknown. A
// condition that is decided by its other points (true || x) is not unknown. An
// uncertain reading counts; quality("device.point") tells it apart. An error,
// such as a text compared with a number, is unknown too, and stands with the
// rule.
//
// A reading that is older than the newest of its point, or older by more than
// Config.MaxLateness than the newest of its gateway, is late, such as the
// backlog of an outage behind fresh readings: it is counted and changes nothing.
// The lateness that is allowed lets buses of one gateway report in any order.
// Recorded readings are late only behind their own point's newest: recordings
// that are replayed side by side run apart.
//
// Where a gateway's clock is off from the receiver's by more than
// [MaxClockError], its readings are placed by their age at sending; a reading
// from the future is ignored.
//
// # After a crash
//
// States, alerts, alerts still to be said, and the position in the stream are
// written in one transaction, and the id of an alert follows from rule, gateway
// and event time, so nothing fires twice and nothing is forgotten. An alert is
// said after that commit, and until the stream has acknowledged it; one that was
// said just before a crash may be said again, with the same message id, which
// the stream drops within its duplicate window, and the same alert id for ever.
//
// It never waits for a reading, and never writes to a gateway.
//
// Next on the path: the API and the console, which show the alerts.
package rule
