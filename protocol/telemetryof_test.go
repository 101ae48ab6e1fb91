package protocol

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// TestTelemetryOfIsPartOfTelemetry holds the columns that were asked for
// against those of a full decoding, for columns in every form.
func TestTelemetryOfIsPartOfTelemetry(t *testing.T) {
	points := []Point{{Name: "a.plain"}, {Name: "a.scaled", Scale: Scale{Num: 1, Den: 10}}, {Name: "a.int", Kind: Int},
		{Name: "a.bool", Kind: Bool}, {Name: "a.text", Kind: Text}, {Name: "a.never", Kind: Int}}
	s, err := NewSchema(points, []int{2, 4})
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(SchemaID) *Schema { return s }
	rapid.Check(t, func(t *rapid.T) {
		b := NewBuilder(s)
		for i := range rapid.IntRange(1, 20).Draw(t, "scans") {
			reads := []Reading{{Value: FloatValue(rapid.Float64().Draw(t, "f"))}, {Value: FloatValue(float64(i) / 10)},
				{Value: IntValue(rapid.Int64().Draw(t, "i"))}, {Value: BoolValue(rapid.Bool().Draw(t, "b"))},
				{Value: TextValue(rapid.SampledFrom([]string{"on", "off"}).Draw(t, "s"))}, {Quality: NotRead}}
			if rapid.IntRange(0, 4).Draw(t, "bad") == 0 {
				reads[2] = Reading{Quality: Bad, Reason: "timeout"}
			}
			if err := b.Add([]int64{int64(1000 * i), int64(1000*i + 3)}, reads); err != nil {
				t.Fatal(err)
			}
		}
		body, err := b.Body(0)
		if err != nil {
			t.Fatal(err)
		}
		m := &Message{Type: TypeTelemetry, Epoch: 1, Seq: 1, Body: body}
		full, err := m.Telemetry(lookup)
		if err != nil {
			t.Fatal(err)
		}
		want := rapid.Uint8().Draw(t, "want")
		part, err := m.TelemetryOf(lookup, func(p int) bool { return want>>p&1 == 1 })
		if err != nil || !reflect.DeepEqual(part.Times, full.Times) {
			t.Fatalf("%v, times %v and %v", err, part, full)
		}
		for p := range points {
			for scan := range full.Scans {
				if want>>p&1 == 1 && part.Columns[p].Reading(scan) != full.Columns[p].Reading(scan) {
					t.Fatalf("point %d, scan %d: %v, not %v", p, scan, part.Columns[p].Reading(scan), full.Columns[p].Reading(scan))
				}
			}
		}
	})
}
