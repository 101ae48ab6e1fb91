package dataset

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Hint says how a tag's numbers come about: value = raw*Num/Den + Offset of an
// integer raw, unless Den is 0.
type Hint struct {
	Type             string // float, float32 or int, as the replay driver calls them
	Num, Den, Offset float64
	Unit             string // RFC 8428, or empty
}

// Hint returns what is known about the tag's numbers.
func (t *Tag) Hint() Hint {
	h := Hint{Type: "float", Unit: t.unit()}
	switch s := &t.spec; s.kind {
	case kAnalog:
		h.Num, h.Den = 1, math.Round(1/s.step)
	case kRaw16:
		h.Num, h.Den, h.Offset = s.hi-s.lo, 65535, s.lo
	case kFloat32:
		h.Type = "float32"
	default:
		h.Type = "int"
	}
	return h
}

var units = []struct{ suffix, unit string }{
	{"temp_c", "Cel"}, {"humidity_pct", "%RH"}, {"_pct", "%"}, {"_v", "V"}, {"_a", "A"}, {"_hz", "Hz"},
	{"_kw", "kW"}, {"_wh", "Wh"}, {"_m3", "m3"}, {"_seconds", "s"}, {"_mm", "mm"}, {"_ppm", "ppm"},
	{"_pa", "Pa"}, {"_kpa", "kPa"}, {"_lpm", "l/min"}, {"_mms", "mm/s"}, {"rpm", "1/min"}, {"pf", "/"},
}

func (t *Tag) unit() string {
	for _, u := range units {
		if strings.HasSuffix(t.Point, u.suffix) {
			return u.unit
		}
	}
	return ""
}

// WriteDevices writes the tags as the list of devices of a replay bus in a
// profile, each line indented by indent.
func WriteDevices(w io.Writer, indent string) error {
	var b strings.Builder
	device := ""
	for _, t := range Tags {
		if t.Device != device {
			device = t.Device
			fmt.Fprintf(&b, "%s- name: %s\n%s  points:\n", indent, device, indent)
		}
		h := t.Hint()
		fmt.Fprintf(&b, "%s    - {name: %s", indent, t.Point)
		if h.Unit != "" {
			fmt.Fprintf(&b, ", unit: %q", h.Unit)
		}
		fmt.Fprintf(&b, ", type: %s", h.Type)
		if d := math.Log10(h.Den); h.Den != 0 && h.Num == 1 && h.Offset == 0 && d == math.Trunc(d) {
			fmt.Fprintf(&b, ", decimals: %v", d)
		} else if h.Den != 0 {
			fmt.Fprintf(&b, ", num: %v, den: %v, offset: %v", h.Num, h.Den, h.Offset)
		}
		b.WriteString("}\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
