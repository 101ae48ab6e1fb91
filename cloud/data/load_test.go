package data

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/cloud/contract"
	"tidemark/cloud/stream/streamtest"
	"tidemark/protocol"
)

// A load of the reference data set goes through the bus into the warehouse and
// the lake; every reading is counted, and what it costs is said. How many
// bundles is set by TIDEMARK_LOAD_BUNDLES.
func TestALoadOfTheReferenceDataSet(t *testing.T) {
	bundles := 6
	if n, err := strconv.Atoi(os.Getenv("TIDEMARK_LOAD_BUNDLES")); err == nil {
		bundles = n
	}
	st := newStation(t, Config{})
	st.stop()
	p := newPlantFeed(t)
	streamtest.PutSchema(t, st.bus.JetStream(), p.schema)
	var last uint64
	readings := 0
	for range bundles {
		var msgs []*protocol.Message
		for range 600 {
			msgs = append(msgs, p.message(t, 1))
		}
		for _, m := range protocol.Join(msgs, p.lookup) {
			last = publish(t, st.bus.JetStream(), gw, m)
			readings += 100 * len(partsOf(m, 1))
		}
	}
	st.cfg.SealAfter, st.cfg.SealQuiet, st.cfg.SealInterval = time.Millisecond, time.Second, 100*time.Millisecond
	start, before := time.Now(), cpu()
	st.start()
	c := st.reach(last)
	dur, used := time.Since(start), cpu()-before
	if c.Readings != int64(readings) || c.Bad != 0 {
		t.Errorf("%d readings are counted, %d were published", c.Readings, readings)
	}
	start, before = time.Now(), cpu()
	until(t, "all hours in the lake", func() bool {
		return c.Readings == sealedReadings(t, st)
	})
	sealCPU := cpu() - before
	n := ask[contract.CountResult](t, st, contract.ReqCount, contract.CountQuery{Site: "plant", FromMs: p.first + 30_000, ToMs: p.first + 90_000})
	if n.Readings != 6000 {
		t.Errorf("in a minute there are %d readings", n.Readings)
	}
	st.stop()
	raw, parquet := sizeOf(t, st.dir+"/data/raw"), sizeOf(t, st.dir+"/data/lake")
	per := func(d time.Duration) int64 { return d.Nanoseconds() / int64(readings) }
	t.Logf("%d readings: taken over in %v (%.0f/s, %d ns CPU each, bus included); sealed in %v (%d ns CPU each); hot store %.2f B, lake %.2f B each",
		readings, dur, float64(readings)/dur.Seconds(), per(used), time.Since(start), per(sealCPU), float64(raw)/float64(readings), float64(parquet)/float64(readings))
}

// sealedReadings returns how many readings the files say are in the lake.
func sealedReadings(t *testing.T, st *station) (n int64) {
	t.Helper()
	files, err := filepath.Glob(st.dir + "/data/raw/*.db")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		db, err := openDB(f, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		var k int64
		if err := db.QueryRowContext(context.Background(), `SELECT coalesce(sum(n), 0) FROM part`).Scan(&k); err != nil && !strings.Contains(err.Error(), "no such table") {
			t.Fatal(err)
		}
		n += k
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func sizeOf(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
