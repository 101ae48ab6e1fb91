package protocol

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
)

// The bounds that the package comment promises.
const (
	allocPerByte    = 192
	allocPerReading = 96
	allocPerPoint   = 256
	allocAtAll      = 64 << 10
)

func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

func repeated(head []byte, item string, n int, tail ...byte) []byte {
	return append(append(bytes.Clone(head), bytes.Repeat([]byte(item), n)...), tail...)
}

// arrayHead is the head of an array (RFC 8949 section 3) of n items, in full.
func arrayHead(prefix string, n int) []byte {
	return append([]byte(prefix), 0x9a, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func TestDecodersBoundWhatTheyAllocate(t *testing.T) {
	big := 90000
	hostile := map[string][]byte{
		"points of nothing":     repeated(arrayHead("\xa1\x01", big), "\xa0", big),
		"points of null":        repeated(arrayHead("\xa1\x01", big), "\xf6", big),
		"groups":                repeated(arrayHead("\xa2\x01\x81\xa1\x01\x63a.b\x02", big), "\x01", big),
		"marks of null":         repeated(arrayHead("\xa1\x04", big), "\xf6", big),
		"marks of nothing":      repeated(arrayHead("\xa1\x04", big), "\x80", big),
		"marks of empty marks":  repeated(arrayHead("\xa1\x04", big/7), "\x85\x00\x01\x02\x00\x80", big/7),
		"buses of nothing":      repeated(arrayHead("\xa1\x05", big), "\xa0", big),
		"buses of null":         repeated(arrayHead("\xa1\x05", big), "\xf6", big),
		"steps of nothing":      repeated(arrayHead("\xa1\x03", big), "\xa0", big),
		"rejections of nothing": repeated(arrayHead("\xa1\x04", big), "\xa0", big),
		"ids of nothing":        repeated(arrayHead("\xa1\x03", big), "\x40", big),
		"ids of null":           repeated(arrayHead("\xa1\x03", big), "\xf6", big),
		"reasons of nothing":    repeated(arrayHead("\xa1\x05", big), "\x60", big),
		"numbers":               repeated(arrayHead("", big), "\x01", big),
		"a count that lies":     arrayHead("\xa1\x01", math.MaxInt32),
		"messages":              repeated(nil, "\xa2\x00\x00\x08\x00", MaxBundleMessages),
		"numbered messages":     repeated([]byte("\xa6\x00\x01\x01\x01\x02\x01\x04\x01\x06\x01\x08\x00"), "\xa3\x00\x01\x02\x01\x08\x00", MaxBundleMessages-1),
		"unknown keys":          repeated([]byte("\xb9\x04\x00\x00\x01"), "", 0, unknownKeys(1023)...),
		"text keys":             textKeys(1024),
		"parts":                 repeated(arrayHead("\xa7\x00\x01\x01\x01\x02\x01\x04\x01\x06\x01\x08\x00\x09", 4*20000+1), "\x01", 4*20000+1),
	}
	lookup := goldenSchemas(t)
	for name, data := range hostile {
		checkAllocation(t, name, data, lookup)
	}
	for _, archive := range append([]string{"reject.txtar"}, acceptArchives...) {
		partner := ".json"
		if archive == "reject.txtar" {
			partner = ".reason"
		}
		for _, v := range readVectors(t, archive, partner) {
			checkAllocation(t, v.name, v.data, lookup)
		}
	}
}

func unknownKeys(n int) (out []byte) {
	for i := range n {
		out = append(out, 0x19, byte((i+1000)>>8), byte(i+1000), 0xf6)
	}
	return out
}

func textKeys(n int) (out []byte) {
	out = []byte{0xa1, 0x08, 0xb9, byte(n >> 8), byte(n)}
	for i := range n {
		out = append(out, 0x62, byte('a'+i/32%32), byte('A'+i%32), 0xa0)
	}
	return out
}

// checkAllocation gives data to every decoder.
func checkAllocation(t *testing.T, name string, data []byte, lookup LookupSchema) {
	t.Helper()
	var set Set
	decoders := map[string]func(){
		"bundle":    func() { _, _ = DecodeBundle(data) },
		"message":   func() { _, _ = DecodeMessage(data) },
		"schema":    func() { _, _ = DecodeSchema(data) },
		"telemetry": func() { _, _ = (&Message{Type: TypeTelemetry, Body: data}).Telemetry(lookup) },
		"set":       func() { _ = set.UnmarshalCBOR(data) },
		"text":      func() { _, _ = ParseSet(string(data)) },
		"tidemarks": func() { _, _ = ParseTidemarks(string(data)) },
		"ack":       func() { _ = Unmarshal(data, new(Ack)) },
		"presence":  func() { _ = Unmarshal(data, new(Presence)) },
		"heartbeat": func() { _ = Unmarshal(data, new(Heartbeat)) },
		"dropped":   func() { _ = Unmarshal(data, new(Dropped)) },
		"clock":     func() { _ = Unmarshal(data, new(Clock)) },
		"outage":    func() { _ = Unmarshal(data, new(Outage)) },
		"event":     func() { _ = Unmarshal(data, new(Event)) },
	}
	bound := allocAtAll + allocPerByte*len(data)
	if bytes.HasPrefix(data, zstdMagic) {
		bound += (allocPerByte + 2) * MaxBundle // of what is in the frame, and the decompression
		for _, f := range decoders {
			f() // makes the decoder
		}
	}
	for decoder, f := range decoders {
		if got := allocated(f); got > bound {
			t.Errorf("%s as %s: %d bytes allocated for %d, over the bound of %d", name, decoder, got, len(data), bound)
		}
	}
}

// hostileBodies are small bodies that stand for as many readings as a message
// may hold.
func hostileBodies(t *testing.T, s *Schema, scans int) map[string][]byte {
	t.Helper()
	column := func(p Point, form int) any {
		switch {
		case form == 0:
			return nil
		case p.Kind == Text && form == 1:
			return strings.Repeat("x", 200)
		case p.Kind == Text:
			return make([]string, scans)
		case form == 1:
			return 1
		}
		return columnMap{Runs: []int64{int64(scans), 0}}
	}
	out := map[string][]byte{}
	for form := range 3 {
		for marks := range 3 {
			w := wireTelemetry{Schema: s.id[:], Scans: uint32(scans), Columns: must(Marshal(0))}
			for _, p := range s.Points {
				w.Columns = append(w.Columns, must(Marshal(column(p, form)))...)
			}
			if marks > 0 {
				w.Marks = alternating(scans, len(s.Points), Quality(marks))
			}
			out[fmt.Sprintf("form %d, marks %d", form, marks)] = must(Marshal(w))
		}
	}
	return out
}

// alternating marks every other scan of all points.
func alternating(scans, points int, q Quality) (marks []wireMark) {
	var set Set
	flush := func() {
		if !set.Empty() {
			marks = append(marks, wireMark{Points: uint32(points), Quality: q, Scans: set})
			set = Set{}
		}
	}
	for i := 1; i <= scans; i += 2 {
		if len(set.ranges) == MaxRanges {
			flush()
		}
		set.Add(uint64(i), uint64(i))
	}
	flush()
	return marks
}

func TestTelemetryBoundsWhatItAllocates(t *testing.T) {
	for _, kind := range []Kind{Int, Text, Bool, Float} {
		for _, points := range []int{1, 16, 4096} {
			var list []Point
			for i := range points {
				p := Point{Name: fmt.Sprintf("d%d.p", i), Kind: kind}
				if kind == Float {
					p.Scale = Scale{Num: 1, Den: 10}
				}
				list = append(list, p)
			}
			s, err := NewSchema(list, nil)
			if err != nil {
				t.Fatal(err)
			}
			scans := MaxReadings / points
			decoded := 0
			for name, body := range hostileBodies(t, s, scans) {
				m := &Message{Type: TypeTelemetry, Body: body}
				got := allocated(func() {
					if _, err := m.Telemetry(func(SchemaID) *Schema { return s }); err == nil {
						decoded++
					}
				})
				bound := allocAtAll + allocPerReading*MaxReadings + allocPerByte*len(body) + allocPerPoint*points
				if got > bound {
					t.Errorf("kind %d, %d points, %s: %d bytes allocated for %d, over the bound of %d", kind, points, name, got, len(body), bound)
				}
			}
			if decoded < 3 {
				t.Errorf("kind %d, %d points: only %d of the bodies decoded", kind, points, decoded)
			}
		}
	}
}
