package sampler

import (
	"math"
	"time"

	"tidemark/drivers"
	"tidemark/protocol"
)

// pointState is what report by exception has to remember of a point.
type pointState struct {
	deadband   float64
	maxSilence time.Duration
	last       protocol.Reading
	at         time.Time
	any        bool
}

// report returns what of a reading is to be sent: nothing if it is inside the
// deadband of the reading that was sent last.
func (p *pointState) report(r *drivers.Reading, at time.Time) protocol.Reading {
	out := convert(r)
	if p.deadband == 0 || out.Quality == protocol.NotRead {
		return out
	}
	if p.any && out.Quality == p.last.Quality && out.Reason == p.last.Reason && !p.moved(out) &&
		(p.maxSilence == 0 || at.Sub(p.at) < p.maxSilence) {
		return protocol.Reading{Quality: protocol.NotRead}
	}
	p.last, p.at, p.any = out, at, true
	return out
}

func (p *pointState) moved(r protocol.Reading) bool {
	if r.Quality >= protocol.Bad {
		return false
	}
	if k := r.Value.Kind(); k != protocol.Float && k != protocol.Int {
		return r.Value != p.last.Value
	}
	return !(math.Abs(r.Value.Float()-p.last.Value.Float()) < p.deadband) // NaN moves
}

// convert carries a driver's reading over into the wire's terms.
func convert(r *drivers.Reading) protocol.Reading {
	switch r.Quality {
	case drivers.Good:
		return protocol.Reading{Value: value(r.Value)}
	case drivers.Uncertain:
		return protocol.Reading{Value: value(r.Value), Quality: protocol.Uncertain, Reason: r.Reason}
	case drivers.Bad:
		return protocol.Reading{Quality: protocol.Bad, Reason: r.Reason}
	}
	return protocol.Reading{Quality: protocol.NotRead}
}

func value(v drivers.Value) protocol.Value {
	switch v.Type() {
	case drivers.Int:
		return protocol.IntValue(v.Int())
	case drivers.Bool:
		return protocol.BoolValue(v.Bool())
	case drivers.Text:
		return protocol.TextValue(v.Text())
	}
	return protocol.FloatValue(v.Float())
}

func kindOf(t drivers.Type) protocol.Kind {
	switch t {
	case drivers.Int:
		return protocol.Int
	case drivers.Bool:
		return protocol.Bool
	case drivers.Text:
		return protocol.Text
	}
	return protocol.Float
}
