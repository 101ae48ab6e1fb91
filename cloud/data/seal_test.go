package data

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/cloud/contract"
	"tidemark/cloud/data/lake"
	"tidemark/protocol"
)

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not come: ", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func quickSeals() Config {
	return Config{FlushInterval: 2 * time.Millisecond, SealAfter: time.Millisecond, SealQuiet: 50 * time.Millisecond, SealInterval: 20 * time.Millisecond}
}

// An hour that is over goes to the lake once, what comes late for it as a
// further part; roll-ups are the same before and after, and right.
func TestSealedHoursAreInTheLakeAndRollUpsAgree(t *testing.T) {
	st := newStation(t, Config{FlushInterval: 2 * time.Millisecond, SealInterval: time.Hour})
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.v", Unit: "Cel"})
	hour := floorDiv(time.Now().UnixMilli(), hourMs) - 2
	base := hour * hourMs
	sealed := make(chan contract.LakeSealed, 16)
	sub, err := st.bus.Conn().Subscribe(contract.SubjectSealed+"*", func(m *nats.Msg) {
		var n contract.LakeSealed
		if err := json.Unmarshal(m.Data, &n); err != nil {
			t.Error(err)
		}
		sealed <- n
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection goes away too
	values := []float64{5, 1, 9, math.NaN(), 4}
	for i, v := range values { // 0, 20, 40, 60, 80 s: minutes 0 and 1
		publish(t, st.bus.JetStream(), gw, f.message([]int64{base + int64(i)*20_000}, one(v)))
	}
	last := publish(t, st.bus.JetStream(), gw, f.message([]int64{base + 100_000}, []protocol.Reading{{Quality: protocol.Bad, Reason: "timeout"}}))
	st.reach(last)
	want := fmt.Sprint([]contract.Rollup{
		{Site: "plant", Gateway: "gw-1", Point: "a.v", TimeMs: base, Count: 3, Min: 1, Max: 9, Mean: 5, First: 5, Last: 9},
		{Site: "plant", Gateway: "gw-1", Point: "a.v", TimeMs: base + 60_000, Count: 1, Bad: 2, Min: 4, Max: 4, Mean: 4, First: 4, Last: 4}})
	wantHour := fmt.Sprint([]contract.Rollup{{Site: "plant", Gateway: "gw-1", Point: "a.v", TimeMs: base, Count: 4, Bad: 2, Min: 1, Max: 9, Mean: 4.75, First: 5, Last: 4}})
	check := func(when string) {
		t.Helper()
		q := contract.ReadingsQuery{Site: "plant", Rollup: "1m"}
		if r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, q); fmt.Sprint(r.Rollups) != want {
			t.Errorf("%s, by the minute: %+v", when, r)
		}
		q.Rollup = "1h"
		if r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, q); fmt.Sprint(r.Rollups) != wantHour {
			t.Errorf("%s, by the hour: %+v", when, r)
		}
	}
	check("before sealing")
	st.stop()
	st.cfg = quickSeals()
	st.cfg.Dir, st.cfg.Log = st.dir+"/data", st.log
	st.start()
	if n := <-sealed; n.Readings != 6 || n.HourMs != base || n.Site != "plant" || n.Bytes == 0 {
		t.Errorf("said of the lake: %+v", n)
	}
	check("sealed")
	if c := st.reach(last); c.Readings != 6 || c.Bad != 1 {
		t.Errorf("sealed, the count is %+v", c)
	}
	rows := lakeRows(t, st.dir+"/data")
	if len(rows) != 6 || rows[0].Device != "a" || rows[0].Unit != "Cel" || *rows[0].Float != 5 ||
		!slices.ContainsFunc(rows, func(r lake.Row) bool { return r.Float == nil && r.Quality == "bad" && r.Reason == "timeout" }) ||
		!slices.ContainsFunc(rows, func(r lake.Row) bool { return r.Float != nil && math.IsNaN(*r.Float) && r.Time == base+60_000 }) {
		t.Errorf("the lake holds %+v", rows)
	}
	// Late: it goes before everything, in a part of its own.
	publish(t, st.bus.JetStream(), gw, f.message([]int64{base + 10}, one(3)))
	if n := <-sealed; n.Readings != 1 {
		t.Errorf("said of what came late: %+v", n)
	}
	wantHour = fmt.Sprint([]contract.Rollup{{Site: "plant", Gateway: "gw-1", Point: "a.v", TimeMs: base, Count: 5, Bad: 2, Min: 1, Max: 9, Mean: 4.4, First: 5, Last: 4}})
	want = strings.Replace(want, "3 0 1 9 5 5 9", "4 0 1 9 4.5 5 9", 1)
	check("late")
	if rows := lakeRows(t, st.dir+"/data"); len(rows) != 7 {
		t.Errorf("the lake holds %d rows", len(rows))
	}
	day := time.UnixMilli(base).UTC()
	files, err := filepath.Glob(filepath.Join(st.dir, "data/lake/site=plant", "day="+day.Format(time.DateOnly), fmt.Sprintf("hour-%02d-*.parquet", day.Hour())))
	if err != nil || len(files) != 2 {
		t.Errorf("parts: %v, %v", files, err)
	}
}

// Files past their retention go as a whole, and the answer says so.
func TestRetentionDropsWholeFiles(t *testing.T) {
	cfg := quickSeals()
	cfg.RawRetention, cfg.LakeRetention, cfg.RollupRetention = 48*time.Hour, 48*time.Hour, 365*24*time.Hour
	st := newStation(t, cfg)
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.v"})
	old, now := time.Now().Add(-100*24*time.Hour), time.Now()
	publish(t, st.bus.JetStream(), gw, f.message([]int64{old.UnixMilli()}, one(1)))
	st.reach(publish(t, st.bus.JetStream(), gw, f.message([]int64{now.UnixMilli()}, one(2))))
	raw := st.dir + "/data/raw/" + old.UTC().Format(time.DateOnly) + ".db"
	lakeDay := st.dir + "/data/lake/site=plant/day=" + old.UTC().Format(time.DateOnly)
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
	until(t, "the old hour in the lake", func() bool { return exists(lakeDay) && len(lakeRows(t, st.dir+"/data")) == 1 })
	if !exists(raw) {
		t.Fatal("a file that was just written is gone, though only its readings are old")
	}
	st.stop()
	for _, p := range []string{raw, lakeDay} {
		if err := os.Chtimes(p, old, old); err != nil {
			t.Fatal(err)
		}
	}
	st.start()
	until(t, "the old files removed", func() bool { return !exists(raw) && !exists(lakeDay) })
	r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant", FromMs: old.UnixMilli(), ToMs: old.UnixMilli() + 1})
	if len(r.Readings) != 0 || r.MissingReason != "before_retention" {
		t.Errorf("of what was removed: %+v", r)
	}
	r = ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant", Rollup: "1h"})
	if len(r.Rollups) != 2 || r.Rollups[0].Count != 1 || r.Rollups[0].Mean != 1 {
		t.Errorf("roll-ups outlive the readings: %+v", r)
	}
}

// A file that is damaged is set aside and named; the others are served, and
// what comes is stored.
func TestADamagedFileIsSetAside(t *testing.T) {
	st := newStation(t, Config{FlushInterval: 2 * time.Millisecond})
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.v"})
	yesterday, now := time.Now().Add(-26*time.Hour).UnixMilli(), time.Now().UnixMilli()
	for i := range 200 { // enough for several pages
		publish(t, st.bus.JetStream(), gw, f.message([]int64{yesterday + int64(i)}, one(float64(i))))
	}
	st.reach(publish(t, st.bus.JetStream(), gw, f.message([]int64{now}, one(2))))
	st.stop()
	name := time.UnixMilli(yesterday).UTC().Format(time.DateOnly) + ".db"
	path := st.dir + "/data/raw/" + name
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		if i >= 16 {
			data[i] = 0xa5
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	st.start()
	last := publish(t, st.bus.JetStream(), gw, f.message([]int64{yesterday + 1, now + 1}, one(7), one(8)))
	var c contract.CountResult
	until(t, "an answer without the damaged file", func() bool {
		c = ask[contract.CountResult](t, st, contract.ReqCount, contract.CountQuery{})
		return c.Problem == nil && c.Through >= last
	})
	if c.Readings != 3 || c.MissingReason != "quarantined" || !strings.Contains(c.MissingText, name+".damaged-") {
		t.Errorf("count: %+v", c)
	}
	r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant"})
	if len(r.Readings) != 3 || r.MissingReason != "quarantined" {
		t.Errorf("readings: %+v", r)
	}
	if r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant", FromMs: now - 1000}); r.MissingReason != "" || len(r.Readings) != 2 {
		t.Errorf("of a day whose file is whole: %+v", r)
	}
	st.stop()
	st.start()
	if c = st.reach(last); c.Readings != 3 || c.MissingReason != "quarantined" {
		t.Errorf("after a restart: %+v", c)
	}
}

// A chunk that is damaged inside a sound file costs its own readings only.
func TestADamagedChunkIsLeftOut(t *testing.T) {
	st := newStation(t, Config{FlushInterval: 2 * time.Millisecond, SealInterval: time.Hour})
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.v"}, protocol.Point{Name: "a.w"})
	base := (floorDiv(time.Now().UnixMilli(), hourMs) - 3) * hourMs
	last := publish(t, st.bus.JetStream(), gw, f.message([]int64{base, base + 1}, append(one(1), one(2)...), append(one(3), one(4)...)))
	st.reach(last)
	st.stop()
	db, err := openDB(st.dir+"/data/raw/"+time.UnixMilli(base).UTC().Format(time.DateOnly)+".db", "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE chunk SET body=x'10ff' WHERE series=1`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	st.cfg = quickSeals()
	st.cfg.Dir, st.cfg.Log = st.dir+"/data", st.log
	st.start()
	until(t, "the sound readings in the lake", func() bool { return len(lakeRows(t, st.dir+"/data")) == 2 })
	r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant"})
	if len(r.Readings) != 2 || r.Readings[0].Point != "a.w" || r.MissingReason != "quarantined" || !strings.Contains(r.MissingText, "a.v") {
		t.Errorf("%+v", r)
	}
}
