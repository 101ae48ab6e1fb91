package contract

// Problem is an error in a reply: set, it makes the other fields void.
type Problem struct {
	Status int    `json:"status"` // as in HTTP: 400, 404, 503 …
	Reason string `json:"reason"` // machine-readable
	Text   string `json:"text"`   // one sentence for a person
}

func (p *Problem) Error() string { return p.Text }

// SeriesQuery asks which series there are, with their newest reading.
type SeriesQuery struct {
	Site    string `json:"site,omitempty"` // empty: all
	Gateway string `json:"gateway,omitempty"`
	Limit   int    `json:"limit,omitempty"`
}

// SeriesResult answers a SeriesQuery.
type SeriesResult struct {
	Series []Series `json:"series"`
	Freshness
	Problem *Problem `json:"problem,omitempty"`
}

// Series is one point of one gateway.
type Series struct {
	Site    string   `json:"site"`
	Gateway string   `json:"gateway"`
	Point   string   `json:"point"` // device.point
	Unit    string   `json:"unit,omitempty"`
	Kind    string   `json:"kind"` // float, int, bool, text
	Newest  *Reading `json:"newest,omitempty"`
}

// Reading is one reading as it is served.
type Reading struct {
	Site    string `json:"site,omitempty"`
	Gateway string `json:"gateway,omitempty"`
	Point   string `json:"point,omitempty"`
	TimeMs  int64  `json:"time_ms"` // placed by the gateway's clock messages where its clock was not known
	// RawTimeMs is the time by the gateway's own clock, if it differs.
	RawTimeMs int64  `json:"raw_time_ms,omitempty"`
	Value     any    `json:"value"` // number, boolean or string; null if the quality is bad; NaN and infinities as strings
	Quality   string `json:"quality"`
	Reason    string `json:"reason,omitempty"`
}

// ReadingsQuery asks for readings or roll-ups of points.
type ReadingsQuery struct {
	Site    string   `json:"site"`
	Gateway string   `json:"gateway,omitempty"` // empty: all of the site
	Points  []string `json:"points,omitempty"`  // device.point; empty: all
	FromMs  int64    `json:"from_ms"`
	ToMs    int64    `json:"to_ms"`            // not included; 0: no end
	Rollup  string   `json:"rollup,omitempty"` // "", "1m" or "1h"
	Limit   int      `json:"limit,omitempty"`
	Cursor  string   `json:"cursor,omitempty"` // Next of the page before
}

// ReadingsResult answers a ReadingsQuery: ordered by series, then time.
type ReadingsResult struct {
	Readings []Reading `json:"readings,omitempty"`
	Rollups  []Rollup  `json:"rollups,omitempty"`
	Next     string    `json:"next,omitempty"`
	Freshness
	Problem *Problem `json:"problem,omitempty"`
}

// Rollup is what the good readings of a series were in one interval.
type Rollup struct {
	Site    string  `json:"site"`
	Gateway string  `json:"gateway"`
	Point   string  `json:"point"`
	TimeMs  int64   `json:"time_ms"` // start of the interval
	Count   int64   `json:"count"`   // good and uncertain readings
	Bad     int64   `json:"bad"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	Mean    float64 `json:"mean"`
	First   float64 `json:"first"`
	Last    float64 `json:"last"`
}

// Freshness says how far an answer reaches, so that nothing is ever a bare
// empty.
type Freshness struct {
	AsOfMs  int64  `json:"as_of_ms"` // commit time of the newest bundle that the answer includes
	LagMs   int64  `json:"lag_ms"`   // how long the oldest bundle not yet included has been waiting; 0: none
	Through uint64 `json:"through"`  // position in the stream that the answer includes
	// MissingReason says why there is nothing, or less than was asked for:
	// no_such_site, no_such_point, none_in_range, before_retention, lagging,
	// quarantined (a damaged file was set aside), limit; empty otherwise.
	MissingReason string `json:"missing_reason,omitempty"`
	MissingText   string `json:"missing_text,omitempty"`
}

// CountQuery asks how many readings are stored.
type CountQuery struct {
	Site    string `json:"site,omitempty"`
	Gateway string `json:"gateway,omitempty"`
	FromMs  int64  `json:"from_ms,omitempty"`
	ToMs    int64  `json:"to_ms,omitempty"`
}

// CountResult answers a CountQuery.
type CountResult struct {
	Readings int64 `json:"readings"`
	Good     int64 `json:"good"`
	Bad      int64 `json:"bad"`
	Freshness
	Problem *Problem `json:"problem,omitempty"`
}

// LiveLease asks for live readings of a site for the next LeaseSeconds.
type LiveLease struct {
	Site    string `json:"site"`
	Seconds int    `json:"seconds,omitempty"` // in the reply: how long it holds; ask again before
}

// LiveReadings is what SubjectLive carries.
type LiveReadings struct {
	Site     string    `json:"site"`
	Gateway  string    `json:"gateway"`
	Readings []Reading `json:"readings"`
	Skipped  int       `json:"skipped,omitempty"` // readings left out because there were too many
}

// LakeSealed says that an hour of a site, or what came late for it, is in the lake.
type LakeSealed struct {
	Site     string `json:"site"`
	HourMs   int64  `json:"hour_ms"` // start of the hour, milliseconds since the Unix epoch
	File     string `json:"file"`    // in the data service's folder
	Readings int64  `json:"readings"`
	Bytes    int64  `json:"bytes"`
}
