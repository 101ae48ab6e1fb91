package protocol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// vector is one golden vector of testdata: bytes, and what comes of them.
type vector struct {
	name string
	data []byte
	want string // JSON, or a reason
}

// readVectors reads NAME.hex and its partner NAME.json or NAME.reason from an
// archive. Vectors are append-only: what was accepted once is always accepted.
func readVectors(t testing.TB, archive, partner string) []vector {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", archive))
	if err != nil {
		t.Fatal(err)
	}
	partners := map[string]string{}
	for _, f := range a.Files {
		if name, ok := strings.CutSuffix(f.Name, partner); ok {
			partners[name] = string(f.Data)
		}
	}
	var out []vector
	for _, f := range a.Files {
		name, ok := strings.CutSuffix(f.Name, ".hex")
		if !ok {
			continue
		}
		want, ok := partners[name]
		if !ok {
			t.Fatalf("%s: %s has no %s", archive, name, partner)
		}
		out = append(out, vector{name, unhex(t, string(f.Data)), strings.TrimSpace(want)})
	}
	if len(out) == 0 || len(out) != len(partners) {
		t.Fatalf("%s: %d vectors, %d outcomes", archive, len(out), len(partners))
	}
	return out
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenSchemas are the schemas that the vectors refer to.
func goldenSchemas(t testing.TB) LookupSchema {
	known := map[SchemaID]*Schema{}
	for _, v := range readVectors(t, "schemas.txtar", ".json") {
		s, err := DecodeSchema(v.data)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		known[s.ID()] = s
	}
	return func(id SchemaID) *Schema { return known[id] }
}

func decodeInto[T any](data []byte) (any, error) {
	var v T
	if err := Unmarshal(data, &v); err != nil {
		return nil, err
	}
	return &v, nil
}

// decodeVector decodes by the first word of a vector's name.
func decodeVector(name string, data []byte, lookup LookupSchema) (any, error) {
	kind, _, _ := strings.Cut(name, "/")
	switch kind {
	case "schema":
		s, err := DecodeSchema(data)
		if err != nil {
			return nil, err
		}
		return map[string]any{"id": s.ID().String(), "groups": s.Groups, "points": s.Points}, nil
	case "bundle", "telemetry":
		return projectBundle(data, lookup)
	case "set":
		var s Set
		err := s.UnmarshalCBOR(data)
		return s.String(), err
	case "tidemark":
		tm, err := ParseTidemarks(string(data))
		return tm.String(), err
	case "ack":
		v, err := decodeInto[Ack](data)
		if err != nil {
			return nil, err
		}
		return projectAck(v.(*Ack)), nil
	case "presence":
		return decodeInto[Presence](data)
	case "heartbeat":
		return decodeInto[Heartbeat](data)
	case "dropped":
		v, err := decodeInto[Dropped](data)
		if err != nil {
			return nil, err
		}
		d := v.(*Dropped)
		return map[string]any{"ranges": d.Ranges.String(), "count": d.Count, "cause": d.Cause, "text": d.Text, "from": d.FromMs, "to": d.ToMs}, nil
	case "clock":
		return decodeInto[Clock](data)
	case "outage":
		return decodeInto[Outage](data)
	case "event":
		return decodeInto[Event](data)
	}
	return nil, fmt.Errorf("no decoder is called %q", kind)
}

func projectAck(a *Ack) any {
	var need []string
	for _, id := range a.Need {
		need = append(need, hex.EncodeToString(id))
	}
	return map[string]any{"epoch": EpochString(a.Epoch), "committed": a.Committed.String(), "need": need, "rejected": a.Rejected, "time": a.Time}
}

func projectBundle(data []byte, lookup LookupSchema) (any, error) {
	msgs, err := DecodeBundle(data)
	if err != nil {
		return nil, err
	}
	var out []any
	for _, m := range msgs {
		if m.Type == TypeSchema {
			s, err := DecodeSchema(m.Body)
			if err != nil {
				return nil, err
			}
			out = append(out, map[string]any{"type": "schema", "id": s.ID().String()})
			continue
		}
		j := map[string]any{"type": m.Type.String(), "epoch": EpochString(m.Epoch), "seqs": m.Seqs().String(), "time": m.Time,
			"boot": fmt.Sprintf("%016x", m.Boot), "mono": m.Mono, "clock": m.Clock.String(), "traceparent": m.Traceparent()}
		if len(m.Parts) > 0 {
			j["parts"] = m.Parts
		}
		if m.ResponseCode != "" {
			j["reply"] = []string{m.RequestID, m.RequestCode, string(m.ResponseCode), m.Reason}
		}
		if m.Type == TypeTelemetry {
			if j["telemetry"], err = projectTelemetry(m, lookup); err != nil {
				return nil, err
			}
		} else {
			j["body"] = hex.EncodeToString(m.Body)
		}
		out = append(out, j)
	}
	return out, nil
}

func projectTelemetry(m *Message, lookup LookupSchema) (any, error) {
	tel, err := m.Telemetry(lookup)
	if err != nil {
		return nil, err
	}
	readings := map[string][]string{}
	for p, point := range tel.Schema.Points {
		for i := range tel.Scans {
			readings[point.Name] = append(readings[point.Name], fmt.Sprintf("%d %s", tel.Time(i, p), projectReading(tel.Columns[p].Reading(i))))
		}
	}
	return map[string]any{"schema": tel.Schema.ID().String(), "scans": tel.Scans, "readings": readings}, nil
}

func projectReading(r Reading) string {
	out := r.Quality.String()
	if r.Reason != "" {
		out += "(" + r.Reason + ")"
	}
	if r.Quality >= Bad {
		return out
	}
	switch f := r.Value.Float(); {
	case r.Value.Kind() != Float:
		b, _ := json.Marshal(r.Value.Any())
		return out + " " + string(b)
	case math.IsNaN(f):
		return fmt.Sprintf("%s nan:%016x", out, math.Float64bits(f))
	default:
		return out + " " + strconv.FormatFloat(f, 'g', -1, 64)
	}
}

func sameJSON(t *testing.T, got any, want string) {
	t.Helper()
	enc, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	for _, c := range []struct {
		text string
		to   *any
	}{{string(enc), &a}, {want, &b}} {
		d := json.NewDecoder(strings.NewReader(c.text))
		d.UseNumber()
		if err := d.Decode(c.to); err != nil {
			t.Fatalf("%v in %s", err, c.text)
		}
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got  %s\nwant %s", enc, want)
	}
}

var acceptArchives = []string{"schemas.txtar", "bundles.txtar", "bodies.txtar", "sets.txtar"}

func TestVectorsAreAccepted(t *testing.T) {
	lookup := goldenSchemas(t)
	for _, archive := range acceptArchives {
		for _, v := range readVectors(t, archive, ".json") {
			t.Run(v.name, func(t *testing.T) {
				got, err := decodeVector(v.name, v.data, lookup)
				if err != nil {
					t.Fatal(err)
				}
				sameJSON(t, got, v.want)
			})
		}
	}
}

func TestVectorsAreRejected(t *testing.T) {
	lookup := goldenSchemas(t)
	for _, v := range readVectors(t, "reject.txtar", ".reason") {
		t.Run(v.name, func(t *testing.T) {
			got, err := decodeVector(v.name, v.data, lookup)
			if err == nil {
				t.Fatalf("accepted as %+v, not refused as %s", got, v.want)
			}
			var pe *Error
			if !errors.As(err, &pe) || pe.Reason != v.want {
				t.Fatalf("refused as %s, not as %s: %v", ReasonOf(err), v.want, err)
			}
			if strings.HasPrefix(v.name, "telemetry/") {
				if _, err := DecodeBundle(v.data); err != nil {
					t.Fatalf("refused as a bundle already: %v", err)
				}
			}
		})
	}
}

// What this version writes stays what it wrote: a vector that is not made to be
// read only comes out of the encoder byte for byte.
func TestVectorsAreReproduced(t *testing.T) {
	lookup := goldenSchemas(t)
	for _, v := range readVectors(t, "bundles.txtar", ".json") {
		if strings.HasPrefix(v.name, "bundle/other-") {
			continue
		}
		msgs, err := DecodeBundle(v.data)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range msgs {
			if m.Type != TypeTelemetry {
				continue
			}
			tel, err := m.Telemetry(lookup)
			if err != nil {
				t.Fatal(err)
			}
			b := NewBuilder(tel.Schema)
			addReadings(t, b, tel)
			body, err := b.Body(m.Time)
			if err != nil || !bytes.Equal(body, m.Body) {
				t.Errorf("%s: body %x, not %x (%v)", v.name, body, m.Body, err)
			}
		}
		payload, err := EncodeBundle(msgs)
		if err != nil {
			t.Fatal(err)
		}
		got, want := mustOpen(t, payload), mustOpen(t, v.data)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x, not %x", v.name, got, want)
		}
	}
}

func addReadings(t testing.TB, b *Builder, tel *Telemetry) {
	t.Helper()
	g := len(tel.Schema.Groups)
	for i := range tel.Scans {
		var readings []Reading
		for p := range tel.Columns {
			readings = append(readings, tel.Columns[p].Reading(i))
		}
		if err := b.Add(tel.Times[i*g:(i+1)*g], readings); err != nil {
			t.Fatal(err)
		}
	}
}

func mustOpen(t testing.TB, payload []byte) []byte {
	t.Helper()
	data, err := OpenBundle(payload)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
