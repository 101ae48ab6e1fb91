package contract

// GatewaysQuery asks for the state of gateways.
type GatewaysQuery struct {
	Site    string `json:"site,omitempty"`
	Gateway string `json:"gateway,omitempty"`
}

// GatewaysResult answers a GatewaysQuery.
type GatewaysResult struct {
	Gateways []GatewayState `json:"gateways"`
	Problem  *Problem       `json:"problem,omitempty"`
}

// GatewayState is what the platform knows of a gateway.
type GatewayState struct {
	Site        string       `json:"site"`
	Gateway     string       `json:"gateway"`
	Online      bool         `json:"online"`
	Session     uint64       `json:"session"`
	SinceMs     int64        `json:"since_ms"`     // of Online
	LastSeenMs  int64        `json:"last_seen_ms"` // newest commit
	Agent       string       `json:"agent"`
	Profile     string       `json:"profile"`
	Epochs      []EpochState `json:"epochs"` // the one heard from last first
	HeartbeatMs int64        `json:"heartbeat_ms,omitempty"`
	Outbox      *OutboxState `json:"outbox,omitempty"` // from the newest heartbeat
	Buses       []BusState   `json:"buses,omitempty"`
	Link        *LinkState   `json:"link,omitempty"`
	Clock       string       `json:"clock,omitempty"`
	Outages     []Outage     `json:"outages,omitempty"` // newest first
	Account     Account      `json:"account"`
}

// EpochState is the tidemark of one epoch and what it will never hold.
type EpochState struct {
	Epoch     string        `json:"epoch"`
	Ranges    string        `json:"ranges"` // such as 1-500,602
	Committed uint64        `json:"committed"`
	Dropped   []DroppedInfo `json:"dropped"`
}

// DroppedInfo is one dropped message.
type DroppedInfo struct {
	Ranges string `json:"ranges"`
	Count  uint64 `json:"count"`
	Cause  string `json:"cause"`
	Text   string `json:"text"`
	FromMs int64  `json:"from_ms,omitempty"`
	ToMs   int64  `json:"to_ms,omitempty"`
}

// Account balances the messages of the newest epoch: In = Out + InFlight +
// Dropped + Dead, as of the newest heartbeat.
type Account struct {
	In       uint64 `json:"in"`        // numbered by the outbox
	Out      uint64 `json:"out"`       // committed in the stream
	InFlight uint64 `json:"in_flight"` // in the outbox or on the way
	Dropped  uint64 `json:"dropped"`
	Dead     uint64 `json:"dead"`
}

// OutboxState is the outbox in a heartbeat.
type OutboxState struct {
	Depth       uint64 `json:"depth"`
	Bytes       uint64 `json:"bytes"`
	OldestMs    uint64 `json:"oldest_age_ms"`
	NextSeq     uint64 `json:"next_seq"`
	Dropped     uint64 `json:"dropped"`
	Quarantined uint64 `json:"quarantined"`
	BudgetBytes uint64 `json:"budget_bytes"`
}

// BusState is a bus in a heartbeat.
type BusState struct {
	Bus    string `json:"bus"`
	Driver string `json:"driver"`
	Points uint64 `json:"points"`
	Fresh  uint64 `json:"fresh"`
	Good   uint64 `json:"good"`
	Bad    uint64 `json:"bad"`
	Reason string `json:"reason,omitempty"`
}

// LinkState is the link in a heartbeat.
type LinkState struct {
	Online     bool   `json:"online"`
	Published  uint64 `json:"published"`
	Acks       uint64 `json:"acks"`
	BytesOut   uint64 `json:"bytes_out"`
	AckMs      uint64 `json:"ack_ms"`
	DrainEtaMs uint64 `json:"drain_eta_ms"`
	Rung       string `json:"rung,omitempty"`
}

// Outage is an outage as the gateway saw it.
type Outage struct {
	FromMs int64        `json:"from_ms"`
	ToMs   int64        `json:"to_ms,omitempty"`
	Steps  []OutageStep `json:"steps"`
}

// OutageStep is a change of the failing rung.
type OutageStep struct {
	TimeMs int64  `json:"time_ms"`
	Rung   string `json:"rung"`
	Text   string `json:"text"`
}

// MessagesQuery asks for messages, newest first.
type MessagesQuery struct {
	Site         string `json:"site,omitempty"`
	Gateway      string `json:"gateway,omitempty"`
	Type         string `json:"type,omitempty"`
	ResponseCode string `json:"response_code,omitempty"`
	TraceID      string `json:"trace_id,omitempty"`
	FromMs       int64  `json:"from_ms,omitempty"`
	ToMs         int64  `json:"to_ms,omitempty"`
	Limit        int    `json:"limit,omitempty"`
	Cursor       string `json:"cursor,omitempty"`
}

// MessagesResult answers a MessagesQuery.
type MessagesResult struct {
	Messages []MessageRow `json:"messages"`
	Next     string       `json:"next,omitempty"`
	Problem  *Problem     `json:"problem,omitempty"`
}

// MessageRow is one message in the ledger. Joined messages are one row with
// the seqs that it stands for.
type MessageRow struct {
	Site         string `json:"site"`
	Gateway      string `json:"gateway"`
	Type         string `json:"type"`
	Epoch        string `json:"epoch"`
	Seqs         string `json:"seqs"`
	TraceID      string `json:"trace_id"` // of its first seq
	TimeMs       int64  `json:"time_ms"`  // queued, the gateway's clock
	Bytes        int    `json:"bytes"`
	Readings     int    `json:"readings,omitempty"`
	RequestID    string `json:"request_id,omitempty"`
	RequestCode  string `json:"request_code,omitempty"`
	ResponseCode string `json:"response_code"`
	Reason       string `json:"reason,omitempty"`
	Text         string `json:"text,omitempty"`
	Sequence     uint64 `json:"sequence,omitempty"` // in the stream
	CommittedMs  int64  `json:"committed_ms,omitempty"`
}

// TraceQuery asks where a message has been.
type TraceQuery struct {
	TraceID string `json:"trace_id"`
}

// TraceResult answers a TraceQuery.
type TraceResult struct {
	TraceID  string       `json:"trace_id"`
	Messages []MessageRow `json:"messages"`
	Hops     []Hop        `json:"hops"`
	// Where says in one sentence where it is now or where it stopped.
	Where   string   `json:"where"`
	Problem *Problem `json:"problem,omitempty"`
}

// Hop is one stage that a message passed.
type Hop struct {
	Stage      string `json:"stage"`
	TimeUs     int64  `json:"time_us"` // microseconds since the Unix epoch; 0: it has not passed
	DurationUs int64  `json:"action_duration_time_us"`
	Clock      string `json:"clock"` // whose: gateway or cloud
}
