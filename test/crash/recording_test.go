package crash

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A plan says which readings there can be. Each life of the agent replays a recording of its own, so that no reading comes
// twice by itself: the lives follow each other in recorded time.
type plan struct {
	dir           string
	site, gateway string
	base          int64 // time of the first reading of the first life, milliseconds since the Unix epoch
	sweeps        int   // of a life
	speed         int   // sweeps a second
}

const (
	points  = 20
	sweepMs = 1000
)

// newPlan leaves room for lives before now, in hours that are over, so that the warehouse seals what is stored meanwhile.
func newPlan(t *testing.T, lives, sweeps, speed int) *plan {
	span := time.Duration(lives*sweeps*sweepMs) * time.Millisecond
	return &plan{dir: t.TempDir(), site: "crash", gateway: "gw-1", sweeps: sweeps, speed: speed,
		base: time.Now().Add(-span - 3*time.Hour).Truncate(time.Hour).UnixMilli()}
}

func pointName(p int) string { return fmt.Sprintf("rig.p%02d", p) }

// at is when a point was read: within a sweep one after the other.
func (p *plan) at(life, sweep, point int) int64 {
	return p.base + int64(life*p.sweeps+sweep)*sweepMs + int64(point)
}

// find is the other way round: which reading has this time.
func (p *plan) find(point int, at int64) (life, sweep int, ok bool) {
	d := at - p.base - int64(point)
	if d < 0 || d%sweepMs != 0 {
		return 0, 0, false
	}
	n := int(d / sweepMs)
	return n / p.sweeps, n % p.sweeps, true
}

// value follows from which reading it is.
func value(life, sweep, point int) int64 {
	return int64((life*7919 + sweep*3119 + point*1709) % 100_003)
}

// profile writes the recording of a life, and the profile that replays it.
func (p *plan) profile(t *testing.T, life int) string {
	t.Helper()
	csv := filepath.Join(p.dir, fmt.Sprintf("life-%d.csv", life))
	f, err := os.Create(csv)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<16)
	var b []byte
	for s := range p.sweeps {
		for i := range points {
			b = time.UnixMilli(p.at(life, s, i)).UTC().AppendFormat(b[:0], "2006-01-02T15:04:05.000Z")
			b = fmt.Appendf(b, ",%s,%d\n", pointName(i), value(life, s, i))
			_, _ = w.Write(b) // Flush tells
		}
	}
	if err = w.Flush(); err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	y := fmt.Appendf(nil, "version: 1\nsite: %s\ngateway: %s\ncadence: {commit: 100ms, send: 100ms, heartbeat: 5s}\nbuses:\n"+
		"  - name: recording\n    driver: replay\n    file: %s\n    speed: %d\n    at: recorded\n    devices:\n      - name: rig\n        points:\n",
		p.site, p.gateway, csv, p.speed)
	for i := range points {
		y = fmt.Appendf(y, "          - {name: %s, type: int}\n", pointName(i)[len("rig."):])
	}
	path := filepath.Join(p.dir, fmt.Sprintf("life-%d.yaml", life))
	if err := os.WriteFile(path, y, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// forget removes the recording of a life that is over.
func (p *plan) forget(life int) {
	_ = os.Remove(filepath.Join(p.dir, fmt.Sprintf("life-%d.csv", life)))
}
