package dataset

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"
)

// The example site replays the beginning of the data set, and lists its tags.
func TestTheExampleSiteIsAnExcerpt(t *testing.T) {
	const folder = "../../sites/hilltop-plant/"
	var want bytes.Buffer
	if err := WriteCSV(&want, DefaultSeed, 12_000); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(folder + "recording.csv")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("write it anew: go run ./test/dataset/cmd/dataset -n 12000 > sites/hilltop-plant/recording.csv")
	}
	want.Reset()
	if err := WriteDevices(&want, "      "); err != nil {
		t.Fatal(err)
	}
	profile, err := os.ReadFile(folder + "site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, devices, _ := strings.Cut(string(profile), "    devices:\n"); devices != want.String() {
		t.Error("site.yaml must end with what go run ./test/dataset/cmd/dataset -devices prints")
	}
}

// A hint gives back every number of its tag exactly.
func TestHintsAreExact(t *testing.T) {
	g := NewGen(7)
	for range 2000 {
		for _, r := range g.Sweep() {
			h := Tags[r.Tag].Hint()
			switch {
			case (h.Type == "int") != r.IsInt:
				t.Fatalf("%s: type %s", Tags[r.Tag].Name, h.Type)
			case h.Type == "float32" && float64(float32(r.F)) != r.F:
				t.Fatalf("%s: %v is no float32", Tags[r.Tag].Name, r.F)
			case h.Den != 0:
				raw := math.Round((r.F - h.Offset) * h.Den / h.Num)
				if v := raw*h.Num/h.Den + h.Offset; v != r.F {
					t.Fatalf("%s: %v comes back as %v", Tags[r.Tag].Name, r.F, v)
				}
			}
		}
	}
}
