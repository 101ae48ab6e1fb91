package replay

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"time"
)

// MaxRow is the longest row in bytes; a longer one is bad.
const MaxRow = 4096

// rows takes rows apart. It remembers the last whole second that it saw, and
// expects points in order, so that nearly every row costs a few comparisons.
type rows struct {
	names []string       // device.point
	index map[string]int // by name

	key   [20]byte // "2026-01-01T00:00:00."
	keyNs int64    // the same in Unix nanoseconds; meaningless while key is zero
}

// row is one row, taken apart.
type row struct {
	point int    // index; -1 if the profile does not list it, or the row does not tell
	ns    int64  // Unix nanoseconds; 0 if err is set
	value []byte // valid until the next row
	err   error  // errFields or errTime
}

// stampLen is the length of the usual time: 2026-01-01T00:00:00.003Z.
const stampLen = 24

// split takes a line, without its end, apart. want is the point expected next.
func (p *rows) split(line []byte, want int) row {
	if len(line) > stampLen && line[stampLen] == ',' && line[stampLen-1] == 'Z' && p.sameSecond(line) {
		a, b, c := line[20]-'0', line[21]-'0', line[22]-'0'
		name, rest := p.names[want], line[stampLen+1:]
		if a <= 9 && b <= 9 && c <= 9 && len(rest) > len(name) && rest[len(name)] == ',' && string(rest[:len(name)]) == name {
			if value := rest[len(name)+1:]; plain(value) {
				ms := int64(a)*100 + int64(b)*10 + int64(c)
				return row{point: want, ns: p.keyNs + ms*int64(time.Millisecond), value: value}
			}
		}
	}
	return p.splitSlow(line)
}

// sameSecond says whether line, of at least 20 bytes, begins with the key.
func (p *rows) sameSecond(line []byte) bool {
	le := binary.LittleEndian
	return le.Uint64(line) == le.Uint64(p.key[:]) && le.Uint64(line[8:]) == le.Uint64(p.key[8:]) &&
		le.Uint32(line[16:]) == le.Uint32(p.key[16:])
}

// plain says whether a last field needs no further look: no quote, no comma.
func plain(b []byte) bool {
	if len(b) > 32 {
		return bytes.IndexByte(b, ',') < 0 && bytes.IndexByte(b, '"') < 0
	}
	for _, c := range b {
		if c == ',' || c == '"' {
			return false
		}
	}
	return true
}

func (p *rows) splitSlow(line []byte) row {
	stamp, name, value, ok := fields(line)
	if !ok {
		return row{point: -1, err: errFields}
	}
	r := row{point: -1, value: value}
	if i, listed := p.index[string(name)]; listed {
		r.point = i
	}
	r.ns, r.err = p.time(stamp)
	return r
}

// fields splits a line at its commas, or as RFC 4180 says if it has quotes.
func fields(line []byte) (stamp, name, value []byte, ok bool) {
	if bytes.IndexByte(line, '"') < 0 {
		stamp, rest, ok1 := bytes.Cut(line, []byte{','})
		name, value, ok2 := bytes.Cut(rest, []byte{','})
		return stamp, name, value, ok1 && ok2 && bytes.IndexByte(value, ',') < 0
	}
	r := csv.NewReader(bytes.NewReader(line))
	r.FieldsPerRecord = 3
	f, err := r.Read()
	if err != nil {
		return nil, nil, nil, false
	}
	return []byte(f[0]), []byte(f[1]), []byte(f[2]), true
}

// time reads a time and keeps its second for the rows to come.
func (p *rows) time(stamp []byte) (int64, error) {
	var t time.Time
	if err := t.UnmarshalText(stamp); err != nil { // strict RFC 3339, unlike time.Parse
		return 0, errTime
	}
	if y := t.Year(); y < 1678 || y > 2261 { // int64 nanoseconds end there
		return 0, errTime
	}
	ns := t.UnixNano()
	if len(stamp) == stampLen && stamp[stampLen-1] == 'Z' && stamp[19] == '.' {
		copy(p.key[:], stamp)
		p.keyNs = ns - int64(t.Nanosecond())
	}
	return ns, nil
}
