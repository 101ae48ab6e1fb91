package protocol

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestTopicsAndBack(t *testing.T) {
	g := Gateway{"plant-2", "gw_1"}
	for topic, leaf := range map[string]string{
		g.UpTopic(): "up", g.PresenceTopic(): "presence", g.AckTopic(): "ack", g.CommandTopic(): "command", g.DesiredTopic(): "desired", g.UpSubject(): "up",
	} {
		root, back, last, err := ParseTopic(topic)
		if err != nil || back != g || last != leaf {
			t.Errorf("%s: %s %v %s, %v", topic, root, back, last, err)
		}
	}
	for _, topic := range []string{"", "device/a/b", "device/a/b/up/x", "other/a/b/up", "device/A/b/up", "device/a//up", "device/a/+/up", "device.a.b/up", "$share/x/device/a/b/up"} {
		if root, back, leaf, err := ParseTopic(topic); err == nil {
			t.Errorf("%q reads as %s %v %s", topic, root, back, leaf)
		} else if ReasonOf(err) != ReasonName {
			t.Errorf("%q: %v", topic, err)
		}
	}
	for typ := TypeSchema; typ.Known(); typ++ {
		if back, ok := ParseType(typ.String()); !ok || back != typ {
			t.Errorf("%v reads as %v", typ, back)
		}
	}
	if _, ok := ParseType("type_200"); ok {
		t.Error("an unknown type reads")
	}
}

func TestTraceIDLeadsBack(t *testing.T) {
	m := &Message{Epoch: 0x5eed0fa11ca7f00d, Seq: math.MaxUint64}
	if epoch, seq := m.TraceID().Origin(); epoch != m.Epoch || seq != m.Seq {
		t.Fatalf("%x %d", epoch, seq)
	}
	if want := "00-5eed0fa11ca7f00dffffffffffffffff-ffffffffffffffff-01"; m.Traceparent() != want {
		t.Fatalf("%s, not %s", m.Traceparent(), want)
	}
}

// Texts of an operating system need not be UTF-8; a body with one decodes all
// the same.
func TestBodiesTakeAnyText(t *testing.T) {
	bad := "caf\xe9" + strings.Repeat("x", MaxText)
	o := &Outage{Entries: []OutageStep{{Text: bad}}}
	e := &Event{Text: bad, Data: map[string]string{"a": bad}}
	h := &Heartbeat{Buses: []BusState{{Reason: bad}}}
	d := &Dropped{Text: bad}
	for name, c := range map[string]struct {
		enc []byte
		to  any
	}{"outage": {o.Encode(), new(Outage)}, "event": {e.Encode(), new(Event)}, "heartbeat": {h.Encode(), new(Heartbeat)}, "dropped": {d.Encode(), new(Dropped)}} {
		if err := Unmarshal(c.enc, c.to); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if o.Entries[0].Text != bad || e.Data["a"] != bad {
		t.Error("encoding changed what was encoded")
	}
}

// A builder that is not full takes one more scan of numbers.
func TestFullComesInTime(t *testing.T) {
	for _, n := range []int{1, 100, 1000} {
		points := make([]Point, n)
		for i := range points {
			points[i] = Point{Name: "d.p" + itoa(i), Kind: Int}
		}
		s, err := NewSchema(points, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := NewBuilder(s)
		readings := make([]Reading, n)
		r := rand.New(rand.NewPCG(1, 2))
		for !b.Full() {
			for i := range readings {
				readings[i].Value = IntValue(int64(r.Uint64()))
			}
			if err := b.Add([]int64{int64(r.Uint64())}, readings); err != nil {
				t.Fatalf("%d points, scan %d: %v", n, b.Scans(), err)
			}
		}
		body, err := b.Body(0)
		if err != nil || len(body) > MaxMessage || len(body) < MaxMessage/2 {
			t.Errorf("%d points: full at %d bytes, %v", n, len(body), err)
		}
	}
}
