// Command dataset writes the reference data set as CSV: time,point,value; or
// the list of its devices as the replay bus of a profile has it.
//
//	go run ./test/dataset/cmd/dataset -n 1000000 > readings.csv
//	go run ./test/dataset/cmd/dataset -devices
package main

import (
	"flag"
	"log"
	"os"

	"tidemark/test/dataset"
)

func main() {
	n := flag.Int("n", 1_000_000, "readings to write (a sweep is 100)")
	seed := flag.Uint64("seed", dataset.DefaultSeed, "seed; published figures use the default")
	devices := flag.Bool("devices", false, "write the devices for a profile instead of readings")
	flag.Parse()

	write := func() error { return dataset.WriteCSV(os.Stdout, *seed, *n) }
	if *devices {
		write = func() error { return dataset.WriteDevices(os.Stdout, "      ") }
	}
	if err := write(); err != nil {
		log.Fatal(err)
	}
}
