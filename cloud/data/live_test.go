package data

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// Who holds a lease hears the newest readings, no more than fit, and how many
// were left out; nobody else's site is told.
func TestLiveReadingsComeWhileALeaseIsHeld(t *testing.T) {
	st := newStation(t, Config{FlushInterval: time.Hour})
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.v"})
	live := make(chan contract.LiveReadings, 16)
	sub, err := st.bus.Conn().Subscribe(contract.SubjectLive+">", func(m *nats.Msg) {
		var r contract.LiveReadings
		if err := json.Unmarshal(m.Data, &r); err != nil {
			t.Error(err)
		}
		live <- r
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection goes away too
	js := st.bus.JetStream()
	st.reach(publish(t, js, gw, f.message([]int64{1}, one(1)))) // nobody listens
	if l := ask[contract.LiveLease](t, st, contract.ReqLease, contract.LiveLease{Site: "plant"}); l.Seconds != 15 {
		t.Fatalf("lease: %+v", l)
	}
	publish(t, js, protocol.Gateway{Site: "other", Name: "gw"}, f.message([]int64{2}, one(2)))
	publish(t, js, gw, f.message([]int64{3}, one(3)))
	if r := <-live; r.Site != "plant" || r.Gateway != "gw-1" || len(r.Readings) != 1 || r.Readings[0].TimeMs != 3 || r.Readings[0].Value != 3.0 || r.Skipped != 0 {
		t.Errorf("live: %+v", r)
	}
	var times []int64
	var scans [][]protocol.Reading
	for i := range int64(700) {
		times, scans = append(times, 1000+i), append(scans, one(float64(i)))
	}
	publish(t, js, gw, f.message(times, scans...))
	if r := <-live; len(r.Readings) != maxLive || r.Skipped != 200 || r.Readings[0].TimeMs != 1699 {
		t.Errorf("live: %d readings, %d skipped, the first %+v", len(r.Readings), r.Skipped, r.Readings[0])
	}
}

// After each flush the ledger hears how far readings are stored.
func TestEachFlushIsMarked(t *testing.T) {
	st := newStation(t, Config{FlushInterval: time.Millisecond})
	marks := make(chan contract.HopMark, 64)
	sub, err := st.bus.Conn().Subscribe(contract.SubjectHop+"stored", func(m *nats.Msg) {
		var h contract.HopMark
		if err := json.Unmarshal(m.Data, &h); err != nil {
			t.Error(err)
		}
		marks <- h
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection goes away too
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.v"})
	last := publish(t, st.bus.JetStream(), gw, f.message([]int64{1}, one(1)))
	for {
		select {
		case m := <-marks:
			if m.Stage != protocol.Stored || m.TimeUs == 0 || m.Through > last {
				t.Fatalf("mark: %+v", m)
			}
			if m.Through == last {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no mark comes")
		}
	}
}
