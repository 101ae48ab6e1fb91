package asktest

import (
	"fmt"
	"math"
	"time"

	"tidemark/cloud/contract"
)

// TraceID is that of a message in the Sample.
const TraceID = "4bf92f3577b34da6a3ce929d0e0e4736"

// Sample returns a small platform in a plausible state at now: two sites, of
// which one has just lost its link, an hour of readings with a gap, and an
// alert that fires.
func Sample(now time.Time) State {
	ms := now.UnixMilli()
	s := State{Lease: 30, Fresh: contract.Freshness{AsOfMs: ms - 400, LagMs: 120, Through: 4711}, Gateways: sampleGateways(ms)}
	points := []struct {
		point, unit string
		value       func(i int) any
	}{
		{"boiler.burner_on", "", func(i int) any { return i%20 < 12 }},
		{"boiler.flow_temp", "Cel", func(i int) any { return math.Round(10*(71+4*math.Sin(float64(i)/40))) / 10 }},
		{"boiler.return_temp", "Cel", func(i int) any { return math.Round(10*(52+3*math.Sin(float64(i)/55))) / 10 }},
		{"meter.energy", "kWh", func(i int) any { return int64(9007199254740993) + int64(i) }},
	}
	for _, p := range points {
		var newest *contract.Reading
		for i := range 360 {
			r := contract.Reading{Site: "busan-plant-2", Gateway: "boiler-room", Point: p.point, TimeMs: ms - int64(359-i)*10_000, Value: p.value(i), Quality: "good"}
			if i >= 200 && i < 230 && p.point == "boiler.flow_temp" {
				r.Value, r.Quality, r.Reason = nil, "bad", "timeout"
			}
			s.Readings = append(s.Readings, r)
			newest = &r
		}
		kind := map[string]string{"boiler.burner_on": "bool", "meter.energy": "int"}[p.point]
		if kind == "" {
			kind = "float"
		}
		s.Series = append(s.Series, contract.Series{Site: "busan-plant-2", Gateway: "boiler-room", Point: p.point, Unit: p.unit, Kind: kind, Newest: newest})
	}
	for i := range 60 {
		s.Rollups = append(s.Rollups, contract.Rollup{Site: "busan-plant-2", Gateway: "boiler-room", Point: "boiler.flow_temp",
			TimeMs: now.Truncate(time.Minute).UnixMilli() - int64(59-i)*60_000, Count: 6, Min: 70, Max: 72.5, Mean: 71.2, First: 70, Last: 72})
	}
	s.Messages = sampleMessages(ms)
	s.Where = "Stored: readings up to this message can be read. It was committed 212 ms after it was queued."
	us := (ms - 5_000) * 1000
	for i, h := range []struct {
		stage, clock string
		took         int64
	}{{"sampled", "gateway", 18_400}, {"queued", "gateway", 1_000_000}, {"sent", "gateway", 41_000}, {"received", "cloud", 23_000}, {"committed", "cloud", 6_800}, {"ruled", "cloud", 9_100}, {"stored", "cloud", 212_000}, {"served", "cloud", 0}} {
		us += h.took
		hop := contract.Hop{Stage: h.stage, TimeUs: us, DurationUs: h.took, Clock: h.clock}
		if i == 7 {
			hop.TimeUs = 0
		}
		s.Hops = append(s.Hops, hop)
	}
	s.Alerts = []contract.Alert{
		{ID: "flow-low-2", Rule: "flow_temp_low", Site: "busan-plant-2", Gateway: "boiler-room", Severity: "critical", Summary: "Flow temperature below 50 °C for 2 minutes", State: "firing",
			FiredMs: ms - 95_000, SinceMs: ms - 215_000, Values: map[string]any{"boiler.flow_temp": 48.5, "boiler.burner_on": false}, TraceID: TraceID},
		{ID: "flow-low-1", Rule: "flow_temp_low", Site: "busan-plant-2", Gateway: "boiler-room", Severity: "warning", Summary: "Flow temperature below 60 °C for 2 minutes", State: "cleared",
			FiredMs: ms - 7_200_000, SinceMs: ms - 7_320_000, ClearedMs: ms - 6_900_000, Values: map[string]any{"boiler.flow_temp": 58.1}, TraceID: TraceID},
	}
	s.Rules = []contract.RuleInfo{{Name: "flow_temp_low", File: "rules/boiler.yaml", Condition: `p["boiler.flow_temp"] < 50.0`, ClearWhen: `p["boiler.flow_temp"] > 55.0`, ForMs: 120_000, Severity: "critical", Points: []string{"boiler.flow_temp"}, Firing: 1}}
	return s
}

func sampleGateways(ms int64) []contract.GatewayState {
	return []contract.GatewayState{
		{Site: "busan-plant-2", Gateway: "boiler-room", Online: true, Session: 17, SinceMs: ms - 3_720_000, LastSeenMs: ms - 800, Agent: "0.1.0", Profile: "sha256:5f1c",
			Epochs:      []contract.EpochState{{Epoch: "9c1f2ab07d3e4410", Ranges: "1-5012,5020-5180", Committed: 5173, Dropped: []contract.DroppedInfo{{Ranges: "5013-5019", Count: 7, Cause: "budget", Text: "The outbox was full; the oldest telemetry was given up.", FromMs: ms - 7_000_000, ToMs: ms - 6_990_000}}}},
			HeartbeatMs: ms - 12_000, Outbox: &contract.OutboxState{Depth: 3, Bytes: 1_204_224, OldestMs: 2_300, NextSeq: 5184, Dropped: 7, BudgetBytes: 268_435_456},
			Buses: []contract.BusState{{Bus: "rs485-1", Driver: "modbus", Points: 64, Fresh: 64, Good: 1_920}, {Bus: "rs485-2", Driver: "modbus", Points: 12, Fresh: 8, Good: 240, Bad: 120, Reason: "slave 7 does not answer"}},
			Link:  &contract.LinkState{Online: true, Published: 5_180, Acks: 412, BytesOut: 811_008, AckMs: 14}, Clock: "synced",
			Outages: []contract.Outage{{FromMs: ms - 3_900_000, ToMs: ms - 3_720_000, Steps: []contract.OutageStep{{TimeMs: ms - 3_900_000, Rung: "dns", Text: "lookup broker.example: no such host"}, {TimeMs: ms - 3_800_000, Rung: "tcp", Text: "connection refused"}}}},
			Account: contract.Account{In: 5183, Out: 5173, InFlight: 3, Dropped: 7}},
		{Site: "sejong-farm", Gateway: "greenhouse-a", Online: false, Session: 4, SinceMs: ms - 140_000, LastSeenMs: ms - 141_000, Agent: "0.1.0", Profile: "sha256:11ab",
			Epochs:      []contract.EpochState{{Epoch: "00ab34cd9921ef02", Ranges: "1-880", Committed: 880}},
			HeartbeatMs: ms - 150_000, Outbox: &contract.OutboxState{Depth: 40, Bytes: 65_536, OldestMs: 9_000, NextSeq: 921, BudgetBytes: 268_435_456},
			Buses: []contract.BusState{{Bus: "replay", Driver: "replay", Points: 20, Fresh: 20, Good: 600}}, Clock: "unknown",
			Account: contract.Account{In: 920, Out: 880, InFlight: 40}},
	}
}

func sampleMessages(ms int64) []contract.MessageRow {
	rows := []contract.MessageRow{
		{Site: "busan-plant-2", Gateway: "boiler-room", Type: "telemetry", Epoch: "9c1f2ab07d3e4410", Seqs: "5178-5180", TraceID: TraceID, TimeMs: ms - 5_000, Bytes: 1_840, Readings: 640, ResponseCode: "ok", Sequence: 4711, CommittedMs: ms - 4_788},
		{Site: "busan-plant-2", Gateway: "boiler-room", Type: "heartbeat", Epoch: "9c1f2ab07d3e4410", Seqs: "5177", TraceID: "5bf92f3577b34da6a3ce929d0e0e4736", TimeMs: ms - 12_000, Bytes: 214, ResponseCode: "ok", Sequence: 4710, CommittedMs: ms - 11_900},
		{Site: "sejong-farm", Gateway: "greenhouse-a", Type: "event", Epoch: "00ab34cd9921ef02", Seqs: "881", TraceID: "6bf92f3577b34da6a3ce929d0e0e4736", TimeMs: ms - 139_000, Bytes: 99, ResponseCode: "rejected", Reason: "unknown_schema", Text: "The schema of these readings is not known."},
		{Site: "busan-plant-2", Gateway: "boiler-room", Type: "dropped", Epoch: "9c1f2ab07d3e4410", Seqs: "5020", TraceID: "7bf92f3577b34da6a3ce929d0e0e4736", TimeMs: ms - 6_990_000, Bytes: 61, ResponseCode: "ok", Sequence: 4650, CommittedMs: ms - 6_989_000},
	}
	for i := range 30 {
		rows = append(rows, contract.MessageRow{Site: "busan-plant-2", Gateway: "boiler-room", Type: "telemetry", Epoch: "9c1f2ab07d3e4410", Seqs: fmt.Sprint(5000 - i),
			TraceID: fmt.Sprintf("%032x", 0xabc0+i), TimeMs: ms - 7_000_000 - int64(i)*10_000, Bytes: 700, Readings: 640, ResponseCode: "ok", Sequence: uint64(4600 - i), CommittedMs: ms - 6_999_800 - int64(i)*10_000})
	}
	return rows
}
