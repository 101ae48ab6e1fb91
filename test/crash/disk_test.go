package crash

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/agent/control"
)

// disk mounts a file system of its own of some MiB, and returns where.
func disk(t *testing.T, mib int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a small file system; make test runs it in CI")
	}
	image, at := filepath.Join(t.TempDir(), "image"), t.TempDir()
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(int64(mib) << 20)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, at}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			if c[0] == "mount" && os.Getenv("CI") == "" {
				t.Skipf("needs to mount a loop device, which this system refuses: %s", out)
			}
			t.Fatalf("%v: %v: %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return at
}

// fill takes all but some KiB of a file system, until the returned function gives it back.
func fill(t *testing.T, at string, leave int) (free func()) {
	t.Helper()
	path := filepath.Join(at, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 64<<10); err == nil; _, err = f.Write(b) {
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Truncate(max(0, info.Size()-int64(leave)<<10))
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// The gateway's disk is full while the link is down: nothing panics and nothing that was committed is lost; once there is
// room the agent commits again, and all of it arrives.
func TestGatewayDiskFull(t *testing.T) {
	at := disk(t, 24)
	c := newCloud(t, filepath.Join(t.TempDir(), "c"))
	r := newRig(t, newPlan(t, 8, 20_000, 500), c, c.mqtt)
	r.data = filepath.Join(at, "a")
	c.start(t)
	c.up(t)
	r.way.cut()
	r.begin()
	until(t, 20*time.Second, "the agent commits", func() bool { r.agent.mustRun(); return r.said.Load() > 5 })
	free := fill(t, at, 0)
	dropped := uint64(0)
	until(t, 40*time.Second, "the full disk is noticed", func() bool {
		r.agent.mustRun()
		s, err := r.agent.status()
		if err == nil {
			dropped = s.Outbox.Dropped
		}
		return dropped > 0 || r.agent.log.has("disk_full=true")
	})
	sleep(2 * time.Second) // and lasts
	if _, err := r.agent.status(); err != nil {
		t.Errorf("with a full disk the agent does not answer: %v", err)
	}
	r.agent.mustRun()
	free()
	full := r.said.Load()
	until(t, 30*time.Second, "the agent commits", func() bool { r.agent.mustRun(); return r.said.Load() > full+10 })
	r.way.good()
	r.settle()
	b := audit(t, r.plan, c)
	if findings := compare(r.seen, b); len(findings) > 0 {
		t.Errorf("after the disk was full:\n%s", list(findings))
	}
	t.Logf("full at seq %d, %d dropped then; %d readings in the stream, account %+v", full, dropped, b.stream.total, b.state.Account)
}

// The outbox is over its budget while the link is down: the oldest telemetry goes, and dropped messages name all of it.
func TestOutboxOverBudget(t *testing.T) {
	c := newCloud(t, filepath.Join(t.TempDir(), "c"))
	r := newRig(t, newPlan(t, 8, 40_000, 5000), c, c.mqtt)
	c.start(t)
	c.up(t)
	r.way.cut()
	r.begin("--budget", "1MiB")
	var depth control.Depth
	defer func() { t.Logf("the outbox when it was over its budget: %+v", depth) }()
	until(t, 40*time.Second, "the outbox drops", func() bool {
		r.agent.mustRun()
		s, err := r.agent.status()
		depth = s.Outbox
		return err == nil && s.Outbox.Dropped > 5
	})
	r.way.good()
	r.settle("--budget", "1MiB")
	b := audit(t, r.plan, c)
	if findings := compare(r.seen, b); len(findings) > 0 {
		t.Errorf("after the outbox was over its budget:\n%s", list(findings))
	}
	if b.state.Account.Dropped == 0 {
		t.Error("nothing was dropped: nothing is proved")
	}
	lost, there := 0, 0
	for i := range b.stream.end(0) {
		if b.stream.of(0, i) == 0 {
			lost++
		} else {
			there++
		}
	}
	t.Logf("%d readings of the first life arrived, %d are in what was named lost; account %+v", there, lost, b.state.Account)
}

// The disk of the cloud's stream is full: nothing is acknowledged that it does not hold, and when there is room it goes on
// by itself.
func TestStreamDiskFull(t *testing.T) {
	at := disk(t, 48)
	c := newCloud(t, filepath.Join(at, "c"))
	r := newRig(t, newPlan(t, 8, 7200, 1000), c, c.mqtt)
	c.start(t)
	c.up(t)
	r.begin()
	acked := func() uint64 {
		s, err := r.agent.status()
		if err != nil {
			return 0
		}
		return s.Outbox.NextSeq - 1 - s.Outbox.Depth
	}
	until(t, 20*time.Second, "the cloud acknowledges", func() bool { return acked() > 5 })
	free := fill(t, at, 64)
	depth := uint64(0)
	until(t, 60*time.Second, "the full disk stops acknowledgements", func() bool {
		r.agent.mustRun()
		s, err := r.agent.status()
		if err == nil {
			depth = s.Outbox.Depth
		}
		return depth > 30
	})
	free()
	until(t, 60*time.Second, "the cloud acknowledges again", func() bool {
		if !r.cloud.running() { // its supervisor starts it again
			t.Logf("the cloud ended: %s", lastLine(r.cloud.log.String()))
			r.cloud.start(t)
		}
		s, err := r.agent.status()
		return err == nil && s.Outbox.Depth < 5
	})
	r.cloud.up(t)
	r.settle()
	b := audit(t, r.plan, c)
	if findings := compare(r.seen, b); len(findings) > 0 {
		t.Errorf("after the stream's disk was full:\n%s", list(findings))
	}
	t.Logf("%d messages waited; %d readings in the stream, account %+v", depth, b.stream.total, b.state.Account)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strconv.Itoa(len(lines)) + " lines, the last: " + lines[len(lines)-1]
}
