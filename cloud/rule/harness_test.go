package rule

import (
	"encoding/json"
	"os"
	"path/filepath"
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

// ask puts a question to the service and decodes the answer.
func ask[R any](l *lab, subject string, q any) R {
	l.t.Helper()
	return streamtest.Ask[R](l.t, l.Bus.Conn(), subject, q)
}

var (
	plantA = protocol.Gateway{Site: "harbour", Name: "gw-1"}
	plantB = protocol.Gateway{Site: "mill", Name: "gw-1"}
)

const epochA = 0xc0ffee00c0ffee01

// row is one scan: a time and a value for each point; nil is a bad reading, and
// notRead none at all.
type row struct {
	time   int64
	values []any
}

type notRead struct{}

// message makes a telemetry message of rows; a point's kind is that of its
// first value.
func (l *lab) message(seq uint64, names []string, rows ...row) *protocol.Message {
	l.t.Helper()
	points := make([]protocol.Point, len(names))
	for i, n := range names {
		points[i].Name = n
		for _, r := range rows {
			if v, ok := asValue(r.values[i]); ok {
				points[i].Kind = v.Kind()
				break
			}
		}
	}
	s, err := protocol.NewSchema(points, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.PutSchema(s)
	b := protocol.NewBuilder(s)
	for _, r := range rows {
		reads := make([]protocol.Reading, len(names))
		for i := range names {
			v, ok := asValue(r.values[i])
			reads[i] = protocol.Reading{Value: v}
			if r.values[i] == (notRead{}) {
				reads[i] = protocol.Reading{Quality: protocol.NotRead}
			} else if !ok {
				reads[i] = protocol.Reading{Quality: protocol.Bad, Reason: "timeout"}
			}
		}
		if err := b.Add([]int64{r.time}, reads); err != nil {
			l.t.Fatal(err)
		}
	}
	at := rows[len(rows)-1].time
	body, err := b.Body(at)
	if err != nil {
		l.t.Fatal(err)
	}
	return &protocol.Message{Type: protocol.TypeTelemetry, Epoch: epochA, Seq: seq, Time: at, Boot: 1, Mono: seq, Clock: protocol.ClockSynced, Body: body}
}

func asValue(v any) (protocol.Value, bool) {
	switch v := v.(type) {
	case float64:
		return protocol.FloatValue(v), true
	case int:
		return protocol.IntValue(int64(v)), true
	case bool:
		return protocol.BoolValue(v), true
	case string:
		return protocol.TextValue(v), true
	}
	return protocol.Value{}, false
}

// passed waits until rules have passed a sequence of the stream.
func (l *lab) passed(s *Service, sequence uint64) {
	l.t.Helper()
	streamtest.Eventually(l.t, "rules pass "+strconv.FormatUint(sequence, 10), func() bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.written >= sequence
	})
}

// said returns the alerts in the platform stream, oldest first.
func (l *lab) said() (out []contract.Alert) {
	l.t.Helper()
	st, err := l.Bus.JetStream().Stream(l.t.Context(), contract.StreamPlatform)
	if err != nil {
		l.t.Fatal(err)
	}
	info, err := st.Info(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for i := uint64(1); i <= info.State.LastSeq; i++ {
		m, err := st.GetMsg(l.t.Context(), i)
		if err != nil {
			l.t.Fatal(err)
		}
		var a contract.Alert
		if err := json.Unmarshal(m.Data, &a); err != nil {
			l.t.Fatal(err)
		}
		if m.Subject != contract.AlertSubject(a.Site) {
			l.t.Errorf("alert of site %s on subject %s", a.Site, m.Subject)
		}
		out = append(out, a)
	}
	return out
}

// rules writes a file of rules into a new folder.
func rulesIn(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
