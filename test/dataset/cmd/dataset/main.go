// Command dataset writes the reference data set as CSV: time,point,value.
//
//	go run ./test/dataset/cmd/dataset -n 1000000 > readings.csv
package main

import (
	"bufio"
	"flag"
	"log"
	"os"
	"time"

	"tidemark/test/dataset"
)

func main() {
	n := flag.Int("n", 1_000_000, "readings to write (a sweep is 100)")
	seed := flag.Uint64("seed", dataset.DefaultSeed, "seed; published figures use the default")
	flag.Parse()

	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer func() {
		if err := w.Flush(); err != nil {
			log.Fatal(err)
		}
	}()
	b := []byte("time,point,value\n")
	g := dataset.NewGen(*seed)
	for left := *n; left > 0; {
		for _, r := range g.Sweep() {
			if left == 0 {
				break
			}
			t := dataset.Tags[r.Tag]
			b = time.UnixMilli(r.TsMs).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
			b = append(b, ',')
			b = append(b, t.Device...)
			b = append(b, '.')
			b = append(b, t.Point...)
			b = append(b, ',')
			b = r.AppendValue(b)
			b = append(b, '\n')
			if _, err := w.Write(b); err != nil {
				log.Fatal(err)
			}
			b = b[:0]
			left--
		}
	}
}
