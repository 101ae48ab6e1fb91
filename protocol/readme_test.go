package protocol

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// examples are the worked examples of README.md, made by the encoder.
func examples(t *testing.T) map[string][]byte {
	t.Helper()
	s, err := NewSchema([]Point{
		{Name: "boiler.temp_c", Unit: "Cel", Scale: Scale{Num: 1, Den: 10}, Base: 713},
		{Name: "boiler.starts", Kind: Int},
		{Name: "boiler.state", Kind: Text},
	}, []int{2, 1})
	if err != nil {
		t.Fatal(err)
	}
	const at = 1767225600000
	b := NewBuilder(s)
	add := func(ms int64, temp float64, starts int64, state Reading) {
		if err := b.Add([]int64{at + ms, at + ms + 4}, []Reading{{Value: FloatValue(temp)}, {Value: IntValue(starts)}, state}); err != nil {
			t.Fatal(err)
		}
	}
	add(0, 71.4, 1200, Reading{Value: TextValue("on")})
	add(1000, 71.5, 1200, Reading{Quality: Bad, Reason: "timeout"})
	add(2001, 71.5, 1201, Reading{Value: TextValue("on")})
	first := &Message{Type: TypeTelemetry, Epoch: 0x5eed0fa11ca7f00d, Seq: 41, Time: at + 2010, Boot: 0xb007b007b007b007, Mono: 86402010, Clock: ClockSynced}
	body := func(m *Message) *Message {
		if m.Body, err = b.Body(m.Time); err != nil {
			t.Fatal(err)
		}
		return m
	}
	body(first)
	b.Reset()
	add(3000, 71.5, 1201, Reading{Value: TextValue("on")})
	second := *first
	second.Seq, second.Time, second.Mono = 42, at+3010, 86403010
	body(&second)
	lookup := func(SchemaID) *Schema { return s }
	joined := Join([]*Message{first, &second}, lookup)
	ack := &Ack{Epoch: first.Epoch, Committed: SetOf(Range{1, 40}, Range{43, 43}), Need: [][]byte{s.id[:]}, Time: at + 3050}
	return map[string][]byte{
		"schema":  s.Encoded(),
		"columns": columnsOf(t, first),
		"bundle":  mustEncode(t, s.Message(), first, &second),
		"joined":  mustEncode(t, joined...),
		"ack":     ack.Encode(),
		"birth":   (&Presence{Online: true, Session: 7, Epoch: first.Epoch, Time: at, Agent: "1.0.0", Profile: "boiler-room", Boot: first.Boot}).Encode(),
		"will":    (&Presence{Session: 7, Epoch: first.Epoch}).Encode(),
		"dropped": mustEncode(t, &Message{Type: TypeDropped, Epoch: first.Epoch, Seq: 44, Time: at + 4000, Boot: first.Boot, Mono: 86404000, Clock: ClockSynced,
			Body: (&Dropped{Ranges: SetOf(Range{3, 9}, Range{12, 12}), Count: 8, Cause: CauseBudget, Text: "the outbox was full"}).Encode()}),
		"clock": (&Clock{Boot: first.Boot, Mono: 61000, UTC: at, Quality: ClockSynced, StepMs: 1767225539000}).Encode(),
	}
}

func columnsOf(t *testing.T, m *Message) []byte {
	t.Helper()
	var w wireTelemetry
	if err := Unmarshal(m.Body, &w); err != nil {
		t.Fatal(err)
	}
	return w.Columns
}

// mustEncode returns a bundle without a frame.
func mustEncode(t *testing.T, msgs ...*Message) (out []byte) {
	t.Helper()
	var prev *Message
	for _, m := range msgs {
		enc, err := m.encode(prev)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, enc...)
		if m.Type != TypeSchema {
			prev = m
		}
	}
	return out
}

var (
	exampleBlock = regexp.MustCompile("(?s)```(cbor-diag|cbor-hex) ([a-z]+)\n(.*?)```")
	diagComment  = regexp.MustCompile(`/[^/]*/`)
)

func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }

// Every example of the specification stands there in diagnostic notation
// (RFC 8949 section 8) and in hex, and is what the encoder writes.
func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := examples(t)
	diag, err := cbor.DiagOptions{CBORSequence: true}.DiagMode()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range exampleBlock.FindAllStringSubmatch(string(readme), -1) {
		form, name, text := m[1], m[2], m[3]
		data, ok := want[name]
		if !ok {
			t.Fatalf("no example is called %s", name)
		}
		seen[name]++
		got := hex.EncodeToString(data)
		if form == "cbor-diag" {
			if got, err = diag.Diagnose(data); err != nil {
				t.Fatal(err)
			}
			text = diagComment.ReplaceAllString(text, "")
		}
		if squeeze(text) != squeeze(got) {
			t.Errorf("%s %s: the encoder writes\n%s", form, name, got)
		}
	}
	for name := range want {
		if seen[name] != 2 {
			t.Errorf("example %s stands in README.md %d times, not in both forms", name, seen[name])
		}
	}
}

// The limits in the specification's table are those of the code.
func TestReadmeLimits(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]int{"MaxPayload": MaxPayload, "MaxBundle": MaxBundle, "MaxBundleMessages": MaxBundleMessages, "MaxBundleReadings": MaxBundleReadings,
		"MaxMessage": MaxMessage, "MaxReadings": MaxReadings, "MaxPoints": MaxPoints, "MaxSchema": MaxSchema, "MaxRanges": MaxRanges, "MaxText": MaxText, "MaxDepth": MaxDepth, "MaxEpochs": MaxEpochs} {
		row := regexp.MustCompile(`(?m)^\| ` + name + ` \| ([0-9 ]+) \|`).FindStringSubmatch(string(readme))
		if row == nil {
			t.Errorf("README.md does not name %s", name)
		} else if got := strings.ReplaceAll(row[1], " ", ""); got != itoa(v) {
			t.Errorf("README.md says %s is %s, not %d", name, got, v)
		}
	}
}

func itoa(v int) string { b, _ := cbor.Diagnose(must(Marshal(v))); return b }
