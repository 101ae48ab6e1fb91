package dataset

import (
	"bufio"
	"io"
	"time"
)

// AppendRow appends a reading as a row of CSV: time,point,value. The point is
// device.point.
func (r *Reading) AppendRow(b []byte) []byte {
	t := &Tags[r.Tag]
	b = time.UnixMilli(r.TsMs).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, ',')
	b = append(b, t.Device...)
	b = append(b, '.')
	b = append(b, t.Point...)
	b = append(b, ',')
	b = r.AppendValue(b)
	return append(b, '\n')
}

// WriteCSV writes the first n readings of a seed, with a heading.
func WriteCSV(w io.Writer, seed uint64, n int) error {
	bw := bufio.NewWriterSize(w, 1<<16)
	b := []byte("time,point,value\n")
	for g := NewGen(seed); n > 0; {
		for _, r := range g.Sweep() {
			if n == 0 {
				break
			}
			b = r.AppendRow(b)
			n--
		}
		if _, err := bw.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	return bw.Flush()
}
