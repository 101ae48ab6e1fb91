package trace

import (
	"encoding/json"
	"strconv"
	"testing"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
)

// lab is a bus with gateways on it, and the service behind it.
type lab struct {
	*streamtest.Lab
	t testing.TB
}

func newLab(t testing.TB) *lab {
	t.Helper()
	return &lab{streamtest.New(t), t}
}

// start runs a service until the test ends or stop is called.
func (l *lab) start(cfg Config) (s *Service, stop func()) {
	l.t.Helper()
	s, err := New(cfg, l.Bus.Conn(), l.Bus.JetStream())
	if err != nil {
		l.t.Fatal(err)
	}
	return s, streamtest.Run(l.t, s)
}

func (l *lab) mark(st protocol.Stage, through uint64, timeUs int64) {
	l.t.Helper()
	b, _ := json.Marshal(contract.HopMark{Stage: st, Through: through, TimeUs: timeUs})
	if err := l.Bus.Conn().Publish(contract.SubjectHop+string(st), b); err != nil {
		l.t.Fatal(err)
	}
}

// ask puts a question to the service and decodes the answer.
func ask[R any](l *lab, subject string, q any) R {
	l.t.Helper()
	return streamtest.Ask[R](l.t, l.Bus.Conn(), subject, q)
}

// written waits until the ledger has written the stream up to a sequence.
func (l *lab) written(s *Service, device uint64) {
	l.t.Helper()
	streamtest.Eventually(l.t, "the ledger writes up to "+strconv.FormatUint(device, 10), func() bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.pos.Device >= device
	})
}

var (
	plantA = protocol.Gateway{Site: "harbour", Name: "gw-1"}
	plantB = protocol.Gateway{Site: "mill", Name: "gw-1"}
)

const epochA = 0xc0ffee00c0ffee01

// schemaAB has two points.
func schemaAB(t testing.TB) *protocol.Schema {
	t.Helper()
	s, err := protocol.NewSchema([]protocol.Point{{Name: "boiler.temp_c", Unit: "Cel"}, {Name: "boiler.state", Kind: protocol.Int}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readBefore is how long before its message a reading was taken, in milliseconds.
const readBefore = 700

// telemetry is a message of one scan, taken before its time.
func telemetry(t testing.TB, s *protocol.Schema, epoch, seq uint64, timeMs int64) *protocol.Message {
	t.Helper()
	b := protocol.NewBuilder(s)
	if err := b.Add([]int64{timeMs - readBefore}, []protocol.Reading{{Value: protocol.FloatValue(20.5)}, {Value: protocol.IntValue(int64(seq % 4))}}); err != nil {
		t.Fatal(err)
	}
	body, err := b.Body(timeMs)
	if err != nil {
		t.Fatal(err)
	}
	return &protocol.Message{Type: protocol.TypeTelemetry, Epoch: epoch, Seq: seq, Time: timeMs, Boot: 1, Mono: seq, Clock: protocol.ClockSynced, Body: body}
}

func other(kind protocol.Type, epoch, seq uint64, timeMs int64, body []byte) *protocol.Message {
	return &protocol.Message{Type: kind, Epoch: epoch, Seq: seq, Time: timeMs, Boot: 1, Mono: seq, Clock: protocol.ClockSynced, Body: body}
}
