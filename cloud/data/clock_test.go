package data

import (
	"testing"
	"time"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// Readings of a boot that did not know the time are placed when a clock message
// tells it, earlier ones and later ones; the raw time is kept. Recorded times
// and those of a set clock stay, however far off.
func TestReadingsArePlacedByClockMessages(t *testing.T) {
	for _, flush := range []time.Duration{time.Millisecond, time.Hour} {
		st := newStation(t, Config{FlushInterval: flush})
		js := st.bus.JetStream()
		f := newFeed(t, js, protocol.Point{Name: "a.v"})
		now := time.Now().UnixMilli()
		year := 365 * 24 * hourMs
		send := func(clock protocol.ClockQuality, boot, mono uint64, at int64, v float64) uint64 {
			f.clock, f.boot, f.mono = clock, boot, mono
			return publish(t, js, gw, f.message([]int64{at}, one(v)))
		}
		tell := func(boot, mono uint64, utc int64) uint64 {
			c := protocol.Clock{Boot: boot, Mono: mono, UTC: utc, Quality: protocol.ClockSynced}
			f.seq++
			return publish(t, js, gw, &protocol.Message{Type: protocol.TypeClock, Epoch: 1, Seq: f.seq, Time: 1, Boot: boot, Mono: mono, Clock: protocol.ClockSynced, Body: c.Encode()})
		}
		send(protocol.ClockUnknown, 5, 1000, 61_000, 1)                // 1970
		last := send(protocol.ClockUnknown, 6, 2000, 62_000, 2)        // another boot, never told
		last = max(last, send(protocol.ClockUnknown, 5, 3000, 9, 3))   // the wall clock stepped back
		last = max(last, send(protocol.ClockRecorded, 5, 4000, 77, 4)) // not to be placed
		if c := st.reach(last); c.Readings != 4 {
			t.Fatalf("unplaced readings are not counted: %+v", c)
		}
		send(protocol.ClockSet, 5, 4000, now-year, 5)
		send(protocol.ClockSet, 5, 4000, now+year, 6)
		tell(5, 10_000, now)
		last = send(protocol.ClockUnknown, 5, 12_000, 70_000, 7)
		check := func(when string) {
			t.Helper()
			c := st.reach(last)
			if c.Readings != 7 {
				t.Errorf("%s: %d readings are counted", when, c.Readings)
			}
			want := map[float64][2]int64{1: {now - 9000, 61_000}, 2: {62_000, 0}, 3: {now - 7000, 9}, 4: {77, 0}, 5: {now - year, 0}, 6: {now + year, 0}, 7: {now + 2000, 70_000}}
			r := ask[contract.ReadingsResult](t, st, contract.ReqReadings, contract.ReadingsQuery{Site: "plant"})
			if len(r.Readings) != len(want) {
				t.Errorf("%s: %+v", when, r.Readings)
			}
			for _, x := range r.Readings {
				if w := want[x.Value.(float64)]; x.TimeMs != w[0] || x.RawTimeMs != w[1] {
					t.Errorf("%s: reading %v stands at %d (%d), not at %d (%d)", when, x.Value, x.TimeMs, x.RawTimeMs, w[0], w[1])
				}
			}
		}
		check("at once")
		st.stop()
		st.start()
		check("after a restart")
	}
}
