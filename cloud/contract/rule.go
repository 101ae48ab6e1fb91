package contract

// AlertsQuery asks for alerts, newest first.
type AlertsQuery struct {
	Site  string `json:"site,omitempty"`
	State string `json:"state,omitempty"` // firing, cleared; empty: both
	Limit int    `json:"limit,omitempty"`
}

// AlertsResult answers an AlertsQuery.
type AlertsResult struct {
	Alerts  []Alert  `json:"alerts"`
	Problem *Problem `json:"problem,omitempty"`
}

// Alert is one firing of a rule at a gateway.
type Alert struct {
	ID        string `json:"id"` // stable over restarts
	Rule      string `json:"rule"`
	Site      string `json:"site"`
	Gateway   string `json:"gateway"`
	Severity  string `json:"severity"`
	Summary   string `json:"summary"`
	State     string `json:"state"`    // firing or cleared
	FiredMs   int64  `json:"fired_ms"` // event time at which the condition had held for its "for"
	SinceMs   int64  `json:"since_ms"` // event time at which the condition began to hold
	ClearedMs int64  `json:"cleared_ms,omitempty"`
	// ClearedReason is set where no reading cleared it: rule_removed or rule_changed.
	ClearedReason string `json:"cleared_reason,omitempty"`
	// Values are the points of the condition when it fired, device.point to value.
	Values  map[string]any `json:"values,omitempty"`
	TraceID string         `json:"trace_id"` // of the message that fired it
}

// RulesQuery asks which rules are loaded.
type RulesQuery struct{}

// RulesResult answers a RulesQuery.
type RulesResult struct {
	Rules   []RuleInfo `json:"rules"`
	Problem *Problem   `json:"problem,omitempty"`
}

// RuleInfo is one rule.
type RuleInfo struct {
	Name      string   `json:"name"`
	File      string   `json:"file"`
	Site      string   `json:"site,omitempty"` // empty: all
	Condition string   `json:"condition"`
	ClearWhen string   `json:"clear_when,omitempty"`
	ForMs     int64    `json:"for_ms"`
	Severity  string   `json:"severity"`
	Points    []string `json:"points"`
	Firing    int      `json:"firing"`
	Error     string   `json:"error,omitempty"` // the newest evaluation error
}
