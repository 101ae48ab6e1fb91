package streamtest

import (
	"fmt"
	"testing"

	"tidemark/protocol"
)

// WidePoints is how many points a [WideSchema] has: as many as the reference
// data set.
const WidePoints = 100

// WideSchema has [WidePoints] points, each with one decimal.
func WideSchema(t testing.TB) *protocol.Schema {
	t.Helper()
	points := make([]protocol.Point, WidePoints)
	for i := range points {
		points[i] = protocol.Point{Name: fmt.Sprintf("dev.p%d", i), Scale: protocol.Scale{Num: 1, Den: 10}}
	}
	s, err := protocol.NewSchema(points, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// WideMessage is one scan of a [WideSchema], taken at a time in Unix
// milliseconds: values from 20.0 to 20.6, each other than in the message before.
func WideMessage(t testing.TB, s *protocol.Schema, epoch, seq uint64, timeMs int64) *protocol.Message {
	t.Helper()
	reads := make([]protocol.Reading, WidePoints)
	for p := range reads {
		reads[p].Value = protocol.FloatValue(float64(200+(seq+uint64(p))%7) / 10)
	}
	b := protocol.NewBuilder(s)
	if err := b.Add([]int64{timeMs}, reads); err != nil {
		t.Fatal(err)
	}
	body, err := b.Body(timeMs)
	if err != nil {
		t.Fatal(err)
	}
	return &protocol.Message{Type: protocol.TypeTelemetry, Epoch: epoch, Seq: seq, Time: timeMs, Boot: 1, Body: body}
}
