package data

import (
	"os"
	"strings"
	"testing"
	"time"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// While a file cannot be written, what comes is kept and requests say why they
// fail; once it can be written, everything is stored.
func TestWhatCannotBeWrittenIsTriedAgain(t *testing.T) {
	st := newStation(t, Config{FlushInterval: 2 * time.Millisecond})
	f := newFeed(t, st.bus.JetStream(), protocol.Point{Name: "a.v"})
	now := time.Now()
	st.reach(publish(t, st.bus.JetStream(), gw, f.message([]int64{now.UnixMilli()}, one(1))))
	earlier := now.Add(-72 * time.Hour)
	block := st.dir + "/data/raw/" + earlier.UTC().Format(time.DateOnly) + ".db"
	if err := os.Mkdir(block, 0o750); err != nil { // no file can be made there
		t.Fatal(err)
	}
	last := publish(t, st.bus.JetStream(), gw, f.message([]int64{earlier.UnixMilli()}, one(2)))
	for i := range int64(20) {
		last = publish(t, st.bus.JetStream(), gw, f.message([]int64{now.UnixMilli() + i}, one(3)))
	}
	var c contract.CountResult
	until(t, "a problem that names the file", func() bool {
		c = ask[contract.CountResult](t, st, contract.ReqCount, contract.CountQuery{})
		return c.Problem != nil
	})
	if c.Problem.Status != 503 || !strings.Contains(c.Problem.Text, block) {
		t.Errorf("the problem: %+v", c.Problem)
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	until(t, "all readings", func() bool {
		c = ask[contract.CountResult](t, st, contract.ReqCount, contract.CountQuery{})
		return c.Problem == nil && c.Through == last && c.Readings == 22
	})
	st.stop()
	st.start()
	if c := st.reach(last); c.Readings != 22 {
		t.Errorf("after a restart: %+v", c)
	}
}

func TestAFolderThatCannotBeUsedIsNamed(t *testing.T) {
	st := newStation(t, Config{})
	for _, c := range []struct {
		name, want string
		prepare    func(dir string) error
	}{
		{"is a file", "data folder", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }},
		{"data.db is no database", "data.db", func(dir string) error {
			if err := os.Mkdir(dir, 0o750); err != nil {
				return err
			}
			return os.WriteFile(dir+"/data.db", []byte(strings.Repeat("this is no database", 500)), 0o600)
		}},
		{"raw is a file", "folder of readings", func(dir string) error {
			if err := os.Mkdir(dir, 0o750); err != nil {
				return err
			}
			return os.WriteFile(dir+"/raw", nil, 0o600)
		}},
	} {
		dir := t.TempDir() + "/data"
		if err := c.prepare(dir); err != nil {
			t.Fatal(err)
		}
		_, err := New(Config{Dir: dir, Log: st.log}, st.bus.Conn(), st.bus.JetStream())
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := New(Config{}, st.bus.Conn(), st.bus.JetStream()); err == nil {
		t.Error("no folder is accepted")
	}
}
