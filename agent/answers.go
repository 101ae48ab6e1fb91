package agent

import (
	"fmt"
	"math"
	"strconv"

	"tidemark/agent/control"
	"tidemark/agent/sampler"
	"tidemark/drivers"
	"tidemark/protocol"
)

var _ control.Agent = (*Agent)(nil)

// Status answers status.
func (a *Agent) Status() control.Status {
	hb := a.Heartbeat(false)
	s := control.Status{Site: a.gateway.Site, Gateway: a.gateway.Name, Version: hb.Agent, Profile: hb.Profile, File: a.profile.File,
		UptimeMs: hb.UptimeMs, FlashBytesPerDay: hb.FlashBytesPerDay, Hops: map[string]control.Hop{}, Outbox: a.depth(hb.Outbox),
		Clock: control.Clock{Quality: hb.Clock.Quality.String(), BootID: hb.Clock.BootID, CloudOffsetMs: hb.Clock.CloudOffsetMs},
		Link: control.Link{Broker: a.broker.Redacted(), Online: hb.Link.Online, SinceMs: hb.Link.SinceMs, Session: hb.Link.Session,
			Published: hb.Link.Published, Acks: hb.Link.Acks, BytesOut: hb.Link.BytesOut, InFlight: hb.Link.InFlight,
			AckMs: hb.Link.AckMs, DrainEtaMs: hb.Link.DrainEtaMs},
	}
	s.Link.Rung, s.Link.RungText = a.diary.Rung()
	for _, b := range hb.Buses {
		s.Buses = append(s.Buses, control.Bus{Bus: b.Bus, Driver: b.Driver, Points: b.Points, Fresh: b.Fresh, Good: b.Good, Bad: b.Bad,
			Reason: b.Reason, LateMaxMs: b.LateMax})
	}
	for stage, h := range hb.Hops {
		s.Hops[stage] = control.Hop{Count: h.Count, MeanUs: h.SumUs / max(h.Count, 1), MaxUs: h.MaxUs}
	}
	return s
}

func (a *Agent) depth(o protocol.OutboxState) control.Depth {
	return control.Depth{Epoch: protocol.EpochString(a.outbox.Epoch()), Depth: o.Depth, Bytes: o.Bytes, BudgetBytes: o.BudgetBytes,
		OldestMs: o.OldestMs, NextSeq: o.NextSeq, Dropped: o.Dropped, Quarantined: o.Quarantined}
}

// Outbox answers outbox.
func (a *Agent) Outbox() control.Outbox {
	o := control.Outbox{Depth: a.depth(a.outbox.State()), Committed: a.outbox.Acked().String()}
	for _, s := range a.outbox.Segments() {
		o.Segments = append(o.Segments, control.Segment{Name: s.Name, First: s.First, Last: s.Last, Messages: s.Messages,
			Bytes: uint64(s.Bytes), Acked: s.Acked, Quarantined: s.Quarantined})
	}
	for _, d := range a.outbox.Lost() {
		o.Lost = append(o.Lost, control.Lost{Ranges: d.Ranges.String(), Count: d.Count, Cause: d.Cause, Text: d.Text})
	}
	return o
}

// Trace answers trace: where a message of this gateway is.
func (a *Agent) Trace(id string) (control.Trace, error) {
	tid, err := protocol.ParseTraceID(id)
	if err != nil {
		return control.Trace{}, err
	}
	epoch, seq := tid.Origin()
	t := control.Trace{TraceID: id, Epoch: protocol.EpochString(epoch), Seq: seq}
	head := a.outbox.Head()
	switch {
	case epoch != a.outbox.Epoch():
		t.State, t.Text = "another_outbox", "it is not of this gateway's outbox, whose epoch is "+protocol.EpochString(a.outbox.Epoch())
		return t, nil
	case seq == 0 || seq >= a.outbox.State().NextSeq:
		t.State, t.Text = "not_yet", fmt.Sprintf("this outbox has not come to seq %d yet", seq)
		return t, nil
	case seq > head:
		t.State, t.Text = "pending", "it waits for its commit to disk"
		return t, nil
	}
	for _, d := range a.outbox.Lost() {
		if d.Ranges.Contains(seq) {
			t.State, t.Text = "lost", d.Text
			return t, nil
		}
	}
	stored, err := a.outbox.Read(seq-1, seq, 1<<20, protocol.Set{})
	if err != nil {
		return t, err
	}
	if len(stored) == 1 {
		t.Type, t.TimeMs, t.Bytes = stored[0].Type.String(), stored[0].Time, len(stored[0].Data)
	}
	if a.outbox.Acked().Contains(seq) {
		t.State, t.Text = "acknowledged", "the cloud has committed it; ask there for its further way"
		return t, nil
	}
	t.State, t.Text = "committed", "it is on disk here, and not acknowledged by the cloud yet"
	return t, nil
}

// Tail sends live readings to ch until stop is called.
func (a *Agent) Tail(ch chan<- []control.Reading) (stop func()) {
	scans := make(chan sampler.Observation, 64)
	var stops []func()
	for _, b := range a.buses {
		stops = append(stops, b.Tap(scans))
	}
	end := make(chan struct{})
	go func() {
		for {
			select {
			case o := <-scans:
				select {
				case ch <- readingsOf(&o):
				case <-end:
					return
				}
			case <-end:
				return
			}
		}
	}()
	return func() {
		for _, s := range stops {
			s()
		}
		close(end)
	}
}

func readingsOf(o *sampler.Observation) []control.Reading {
	out := make([]control.Reading, 0, len(o.Scan.Readings))
	group, left := 0, o.Spec.Groups[0]
	for i := range o.Scan.Readings {
		for left == 0 {
			group++
			left = o.Spec.Groups[group]
		}
		left--
		r, p := &o.Scan.Readings[i], &o.Spec.Points[i]
		if r.Quality == drivers.NotRead {
			continue
		}
		c := control.Reading{Bus: o.Bus, Point: p.Device + "." + p.Name, TimeMs: o.Scan.Times[group].UnixMilli(), Unit: p.Unit,
			Quality: qualityName(r.Quality), Reason: r.Reason}
		if r.Quality != drivers.Bad {
			c.Value = valueOf(r.Value)
		}
		out = append(out, c)
	}
	return out
}

func qualityName(q drivers.Quality) string {
	switch q {
	case drivers.Good:
		return "good"
	case drivers.Uncertain:
		return "uncertain"
	}
	return "bad"
}

// valueOf returns a value as JSON can carry it: what is no JSON number is a string.
func valueOf(v drivers.Value) any {
	switch v.Type() {
	case drivers.Int:
		return v.Int()
	case drivers.Bool:
		return v.Bool()
	case drivers.Text:
		return v.Text()
	}
	if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return v.Float()
}
