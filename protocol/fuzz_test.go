package protocol

import (
	"bytes"
	"reflect"
	"testing"
)

// seedVectors gives a fuzz target the golden vectors whose names begin so.
func seedVectors(f *testing.F, prefixes ...string) {
	f.Helper()
	for archive, partner := range map[string]string{"schemas.txtar": ".json", "bundles.txtar": ".json", "bodies.txtar": ".json", "sets.txtar": ".json", "reject.txtar": ".reason"} {
		for _, v := range readVectors(f, archive, partner) {
			for _, p := range prefixes {
				if bytes.HasPrefix([]byte(v.name), []byte(p)) {
					f.Add(v.data)
				}
			}
		}
	}
}

// What decodes as a bundle is encoded again, and comes back the same; so is the
// telemetry in it, also joined with its neighbours.
func FuzzDecodeBundle(f *testing.F) {
	seedVectors(f, "bundle/", "telemetry/")
	lookup := goldenSchemas(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		msgs, err := DecodeBundle(data)
		if err != nil {
			return
		}
		payload, err := EncodeBundle(msgs)
		if err != nil {
			return // of another's making, and too large in ours
		}
		back, err := DecodeBundle(payload)
		if err != nil || !reflect.DeepEqual(back, msgs) {
			t.Fatalf("%+v comes back as %+v, %v", msgs, back, err)
		}
		for _, m := range msgs {
			checkTelemetryReencodes(t, m, lookup)
		}
		checkJoin(t, msgs, lookup)
	})
}

func checkTelemetryReencodes(t *testing.T, m *Message, lookup LookupSchema) {
	if m.Type != TypeTelemetry {
		return
	}
	odd := func(p int) bool { return p%2 == 1 }
	some, someErr := m.TelemetryOf(lookup, odd)
	tel, err := m.Telemetry(lookup)
	if err != nil {
		return
	}
	if someErr != nil {
		t.Fatalf("all columns decode, some do not: %v", someErr)
	}
	for p := range tel.Columns {
		for i := range tel.Scans {
			if odd(p) && tel.Columns[p].Reading(i) != some.Columns[p].Reading(i) {
				t.Fatalf("point %d scan %d differs when decoded without its neighbours", p, i)
			}
		}
	}
	b := NewBuilder(tel.Schema)
	if err := b.AddTelemetry(tel, 0, tel.Scans); err != nil {
		t.Fatal(err)
	}
	body, err := b.Body(m.Time)
	if err != nil {
		return // larger in our encoding than a message may be
	}
	again := *m
	again.Body = body
	back, err := again.Telemetry(lookup)
	if err != nil {
		t.Fatalf("what was encoded does not decode: %v", err)
	}
	sameTelemetry(t, tel, back)
}

func sameTelemetry(t *testing.T, a, b *Telemetry) {
	t.Helper()
	if a.Scans != b.Scans || !reflect.DeepEqual(a.Times, b.Times) {
		t.Fatalf("times %v, not %v", b.Times, a.Times)
	}
	for p := range a.Columns {
		for i := range a.Scans {
			if x, y := a.Columns[p].Reading(i), b.Columns[p].Reading(i); x != y {
				t.Fatalf("point %d scan %d: %+v, not %+v", p, i, y, x)
			}
		}
	}
}

// Joining keeps every seq that was there, and never makes what does not encode.
func checkJoin(t *testing.T, msgs []*Message, lookup LookupSchema) {
	var before, after int
	for _, m := range msgs {
		before += m.Count()
	}
	for _, m := range Join(msgs, lookup) {
		after += m.Count()
		if len(m.Parts) == 0 || m.Type != TypeTelemetry {
			continue
		}
		enc, err := m.Encode()
		if err != nil {
			continue // a message of another's making that stands alone
		}
		if _, err := DecodeMessage(enc); err != nil {
			t.Fatalf("a joined message does not decode: %v", err)
		}
	}
	if before != after {
		t.Fatalf("%d messages were joined to %d", before, after)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	seedVectors(f, "bundle/", "telemetry/")
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMessage(data)
		if err != nil {
			return
		}
		enc, err := m.Encode()
		if err != nil {
			return
		}
		back, err := DecodeMessage(enc)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%+v comes back as %+v, %v", m, back, err)
		}
	})
}

// The input is split into a schema that decides how the columns are read, and
// a telemetry body.
func FuzzTelemetry(f *testing.F) {
	lookup := goldenSchemas(f)
	for _, v := range readVectors(f, "bundles.txtar", ".json") {
		msgs, err := DecodeBundle(v.data)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range msgs {
			if m.Type == TypeTelemetry {
				if id, err := m.SchemaOf(); err == nil {
					f.Add(lookup(id).Encoded(), m.Body, m.Time)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, schema, body []byte, msgTime int64) {
		s, err := DecodeSchema(schema)
		if err != nil {
			return
		}
		m := &Message{Type: TypeTelemetry, Epoch: 1, Seq: 1, Time: msgTime, Body: body}
		checkTelemetryReencodes(t, m, func(SchemaID) *Schema { return s })
	})
}

func FuzzDecodeSchema(f *testing.F) {
	seedVectors(f, "schema/")
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSchema(data)
		if err != nil {
			return
		}
		same, err := NewSchema(s.Points, s.Groups)
		if err != nil {
			t.Fatalf("a schema that decodes is refused: %v", err)
		}
		back, err := DecodeSchema(same.Encoded())
		if err != nil || !reflect.DeepEqual(back.Points, s.Points) || !reflect.DeepEqual(back.Groups, s.Groups) || back.ID() != same.ID() {
			t.Fatalf("%+v comes back as %+v, %v", s, back, err)
		}
	})
}

func FuzzSet(f *testing.F) {
	seedVectors(f, "set/")
	f.Fuzz(func(t *testing.T, data []byte) {
		var s, back Set
		if s.UnmarshalCBOR(data) != nil {
			return
		}
		enc, err := s.MarshalCBOR()
		if err != nil || back.UnmarshalCBOR(enc) != nil || !back.Equal(s) {
			t.Fatalf("%v comes back as %v", s, back)
		}
		checkRanges(t, s)
	})
}

func checkRanges(t *testing.T, s Set) {
	r := s.Ranges()
	for i := range r {
		if r[i].First == 0 || r[i].Last < r[i].First || i > 0 && r[i].First-1 <= r[i-1].Last {
			t.Fatalf("ranges %v", r)
		}
	}
	if rebuilt := SetOf(r...); !rebuilt.Equal(s) {
		t.Fatalf("%v added up is %v", s, rebuilt)
	}
}

func FuzzParseSet(f *testing.F) {
	for _, s := range []string{"", "1", "1-500,602", "18446744073709551615", "1,3-18446744073709551615", "0", "2-1", "1-1", "01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSet(text)
		if err != nil {
			return
		}
		if s.String() != text {
			t.Fatalf("%q reads as %q", text, s)
		}
		checkRanges(t, s)
	})
}

func FuzzParseTidemarks(f *testing.F) {
	for _, s := range []string{"", "5eed0fa11ca7f00d:1-500,602;00000000000000a1:1-7", "00000000000000a1:", "00000000000000a1:1;00000000000000a1:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tm, err := ParseTidemarks(text)
		if err != nil {
			return
		}
		if tm.String() != text {
			t.Fatalf("%q reads as %q", text, tm)
		}
	})
}

func FuzzBodies(f *testing.F) {
	seedVectors(f, "ack/", "presence/", "heartbeat/", "dropped/", "clock/", "outage/", "event/")
	f.Fuzz(func(t *testing.T, data []byte) {
		comesBack[Ack](t, data)
		comesBack[Presence](t, data)
		comesBack[Heartbeat](t, data)
		comesBack[Dropped](t, data)
		comesBack[Clock](t, data)
		comesBack[Outage](t, data)
		comesBack[Event](t, data)
	})
}

func comesBack[T any](t *testing.T, data []byte) {
	var v, back T
	if Unmarshal(data, &v) != nil {
		return
	}
	enc, err := Marshal(&v)
	if err != nil {
		t.Fatalf("%+v does not encode: %v", v, err)
	}
	if err := Unmarshal(enc, &back); err != nil {
		t.Fatalf("%+v does not come back: %v", v, err)
	}
	again, err := Marshal(&back)
	if err != nil || !bytes.Equal(enc, again) {
		t.Fatalf("%+v comes back as %+v", v, back)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"device/plant-2/gw-1/up", "service_platform.plant.gw.ack", "a/b", "device/a/b/c/d", "5eed0fa11ca7f00d", "0af7651916cd43dd8448eb211c80319c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if root, g, leaf, err := ParseTopic(text); err == nil && text != root+"/"+g.String()+"/"+leaf && text != root+"."+g.Site+"."+g.Name+"."+leaf {
			t.Fatalf("%q reads as %q %v %q", text, root, g, leaf)
		}
		if g, err := ParseGateway(text); err == nil && g.String() != text {
			t.Fatalf("%q reads as %v", text, g)
		}
		if e, err := ParseEpoch(text); err == nil && EpochString(e) != text {
			t.Fatalf("%q reads as %x", text, e)
		}
		if id, err := ParseTraceID(text); err == nil && len(text) != 2*len(id) {
			t.Fatalf("%q reads as %v", text, id)
		}
	})
}
