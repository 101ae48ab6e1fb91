package protocol

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tidemark is the seqs of one epoch that the cloud has durably committed.
type Tidemark struct {
	Epoch     uint64
	Committed Set
}

// MaxEpochs is how many epochs of one gateway the cloud keeps tidemarks of. A
// gateway has a new epoch only when its outbox is made anew.
const MaxEpochs = 8

// Tidemarks are the tidemarks of one gateway, the epoch heard from last first.
type Tidemarks []Tidemark

// Of returns the committed seqs of an epoch.
func (t Tidemarks) Of(epoch uint64) Set {
	for _, m := range t {
		if m.Epoch == epoch {
			return m.Committed
		}
	}
	return Set{}
}

// With returns t with the seqs of an epoch added, that epoch first, and at
// most MaxEpochs epochs. t stays as it is.
func (t Tidemarks) With(epoch uint64, seqs Set) Tidemarks {
	committed := t.Of(epoch).Clone()
	committed.AddSet(seqs)
	out := Tidemarks{{epoch, committed}}
	for _, m := range t {
		if m.Epoch != epoch && len(out) < MaxEpochs {
			out = append(out, m)
		}
	}
	return out
}

// Clone returns a copy of t that shares nothing with it.
func (t Tidemarks) Clone() Tidemarks {
	out := slices.Clone(t)
	for i := range out {
		out[i].Committed = out[i].Committed.Clone()
	}
	return out
}

// String returns t as in "00c0ffee00c0ffee:1-500,602;00000000000000a1:1-7": the
// form of the header that the stream keeps it in. [ParseTidemarks] reads it.
func (t Tidemarks) String() string {
	var b strings.Builder
	for i, m := range t {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, "%016x:%s", m.Epoch, m.Committed)
	}
	return b.String()
}

// ParseTidemarks reads what String wrote.
func ParseTidemarks(text string) (Tidemarks, error) {
	if text == "" {
		return nil, nil
	}
	var t Tidemarks
	for part := range strings.SplitSeq(text, ";") {
		epoch, set, ok := strings.Cut(part, ":")
		e, err := ParseEpoch(epoch)
		if !ok || err != nil || e == 0 {
			return nil, refuse(ReasonMalformed, "tidemark", "%.60q is not an epoch and its seqs", part)
		}
		if len(t) == MaxEpochs || slices.ContainsFunc(t, func(m Tidemark) bool { return m.Epoch == e }) {
			return nil, refuse(ReasonMalformed, "tidemark", "epoch %s stands twice, or there are more than %d", epoch, MaxEpochs)
		}
		s, err := ParseSet(set)
		if err != nil {
			return nil, at("tidemark", err)
		}
		t = append(t, Tidemark{e, s})
	}
	return t, nil
}

// ParseEpoch reads an epoch as 16 hexadecimal digits in lower case.
func ParseEpoch(s string) (uint64, error) {
	e, err := strconv.ParseUint(s, 16, 64)
	if err != nil || EpochString(e) != s {
		return 0, refuse(ReasonMalformed, "epoch", "%.40q is not 16 hexadecimal digits in lower case", s)
	}
	return e, nil
}

// EpochString returns an epoch as 16 hexadecimal digits.
func EpochString(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }
