package control

// Status is the answer to status.
type Status struct {
	Site     string         `json:"site"`
	Gateway  string         `json:"gateway"`
	Version  string         `json:"version"`
	Profile  string         `json:"profile"`
	File     string         `json:"profile_file"`
	UptimeMs uint64         `json:"uptime_ms"`
	Link     Link           `json:"link"`
	Outbox   Depth          `json:"outbox"`
	Buses    []Bus          `json:"buses"`
	Clock    Clock          `json:"clock"`
	Hops     map[string]Hop `json:"hops"`
	// FlashBytesPerDay is 0 while it is not known.
	FlashBytesPerDay uint64 `json:"flash_bytes_per_day"`
}

// Link is the state of the link.
type Link struct {
	Broker     string `json:"broker"`
	Online     bool   `json:"online"`
	SinceMs    uint64 `json:"since_ms"`
	Session    uint64 `json:"session"`
	Rung       string `json:"rung,omitempty"`
	RungText   string `json:"rung_text,omitempty"`
	Published  uint64 `json:"bundles_published"`
	Acks       uint64 `json:"acks"`
	BytesOut   uint64 `json:"bytes_out"`
	InFlight   uint64 `json:"bytes_in_flight"`
	AckMs      uint64 `json:"ack_ms"`
	DrainEtaMs uint64 `json:"drain_eta_ms"`
}

// Depth is what the outbox holds.
type Depth struct {
	Epoch       string `json:"epoch"`
	Depth       uint64 `json:"depth"`
	Bytes       uint64 `json:"bytes"`
	BudgetBytes uint64 `json:"budget_bytes"`
	OldestMs    uint64 `json:"oldest_age_ms"`
	NextSeq     uint64 `json:"next_seq"`
	Dropped     uint64 `json:"dropped"`
	Quarantined uint64 `json:"quarantined"`
}

// Bus is the health of a bus.
type Bus struct {
	Bus       string `json:"bus"`
	Driver    string `json:"driver"`
	Points    uint64 `json:"points"`
	Fresh     uint64 `json:"fresh"`
	Good      uint64 `json:"good"`
	Bad       uint64 `json:"bad"`
	Reason    string `json:"reason,omitempty"`
	LateMaxMs uint64 `json:"late_max_ms"`
}

// Clock is the state of the clock.
type Clock struct {
	Quality       string `json:"quality"`
	BootID        string `json:"boot_id"`
	CloudOffsetMs int64  `json:"cloud_offset_ms"`
}

// Hop is the action_duration_time of a stage since the agent started.
type Hop struct {
	Count  uint64 `json:"count"`
	MeanUs uint64 `json:"mean_us"`
	MaxUs  uint64 `json:"max_us"`
}

// Outbox is the answer to outbox.
type Outbox struct {
	Depth
	Committed string    `json:"committed"` // seqs that the cloud has
	Segments  []Segment `json:"segments"`
	Lost      []Lost    `json:"lost"`
}

// Segment is one file of the outbox.
type Segment struct {
	Name        string `json:"name"`
	First       uint64 `json:"first"`
	Last        uint64 `json:"last"`
	Messages    uint64 `json:"messages"`
	Bytes       uint64 `json:"bytes"`
	Acked       uint64 `json:"acked"`
	Quarantined bool   `json:"quarantined"`
}

// Lost is a range that was given up.
type Lost struct {
	Ranges string `json:"ranges"`
	Count  uint64 `json:"count"`
	Cause  string `json:"cause"`
	Text   string `json:"text"`
}

// Trace is the answer to trace.
type Trace struct {
	TraceID string `json:"trace_id"`
	Epoch   string `json:"epoch"`
	Seq     uint64 `json:"seq"`
	// State is one of: another_outbox, not_yet, pending, committed, acknowledged, lost.
	State string `json:"state"`
	Text  string `json:"text"`
	Type  string `json:"type,omitempty"`
	// TimeMs is when it was queued, if it is still here.
	TimeMs int64 `json:"time_ms,omitempty"`
	Bytes  int   `json:"bytes,omitempty"`
}

// Reading is one live reading.
type Reading struct {
	Bus     string `json:"bus"`
	Point   string `json:"point"`
	TimeMs  int64  `json:"time_ms"`
	Value   any    `json:"value"`
	Unit    string `json:"unit,omitempty"`
	Quality string `json:"quality"`
	Reason  string `json:"reason,omitempty"`
}
