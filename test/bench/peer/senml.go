//go:build linux

package peer

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"tidemark/test/dataset"
)

// packs makes the next sweeps of gen into n messages of sweeps sweeps each.
func packs(gen *dataset.Gen, n, sweeps int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		b := make([]byte, 0, sweeps*sweep*48)
		var base int64
		for s := range sweeps {
			readings := gen.Sweep()
			if s == 0 {
				base = readings[0].TsMs
			}
			for k := range readings {
				b = appendRecord(b, &readings[k], base, s == 0 && k == 0)
			}
		}
		out[i] = append(b, ']')
	}
	return out
}

// appendRecord writes one SenML record; the first of a pack carries what all have in common.
func appendRecord(b []byte, r *dataset.Reading, base int64, first bool) []byte {
	tag := &dataset.Tags[r.Tag]
	if first {
		b = append(b, `[{"bn":"`+dataset.Site+`/","bt":`...)
		b = appendSeconds(b, base)
		b = append(b, `,"n":"`...)
	} else {
		b = append(b, `,{"n":"`...)
	}
	b = append(b, tag.Name[len(dataset.Site)+1:]...)
	b = append(b, '"')
	if r.TsMs != base {
		b = append(b, `,"t":`...)
		b = appendSeconds(b, r.TsMs-base)
	}
	b = append(b, `,"v":`...)
	b = r.AppendValue(b)
	return append(b, '}')
}

// appendSeconds writes milliseconds as decimal seconds, exactly.
func appendSeconds(b []byte, ms int64) []byte {
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if frac := ms % 1000; frac != 0 {
		b = append(b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
	}
	return b
}

// record is one SenML record as it arrives.
type record struct {
	BaseName string  `json:"bn"`
	BaseTime float64 `json:"bt"`
	Name     string  `json:"n"`
	Time     float64 `json:"t"`
	Value    float64 `json:"v"`
}

// tally tells which readings have arrived how often: (tag, sweep) names a reading.
type tally struct {
	seen                 map[int]bool
	duplicated, arrivals int
}

func newTally() *tally { return &tally{seen: map[int]bool{}} }

// add counts a message's readings. An error means that the message is none of ours, or was damaged.
func (t *tally) add(payload []byte) error {
	var pack []record
	if err := json.Unmarshal(payload, &pack); err != nil {
		return fmt.Errorf("peer: a message that arrived is no SenML pack: %w", err)
	}
	var bn string
	var bt float64
	for _, r := range pack {
		if r.BaseName != "" {
			bn, bt = r.BaseName, r.BaseTime
		}
		tag, ok := dataset.ByName[bn+r.Name]
		if !ok {
			return fmt.Errorf("peer: a reading arrived of %q, which the data set does not have", bn+r.Name)
		}
		key := dataset.SeqOf(int64(math.Round((bt+r.Time)*1000)))*len(dataset.Tags) + tag
		if t.seen[key] {
			t.duplicated++
		}
		t.seen[key] = true
		t.arrivals++
	}
	return nil
}

// lost returns how many of the first n readings of the data set have not arrived.
func (t *tally) lost(n int) int {
	lost := 0
	for key := range n {
		if !t.seen[key] {
			lost++
		}
	}
	return lost
}
