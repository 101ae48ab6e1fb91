package outbox

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tidemark/test/crash/powercut"
)

// TestPowerCut runs the outbox on an ext4 on a recording disk, then builds
// disks as a power cut may leave them, mounts each, and opens the outbox on
// it: every message that was said to be committed must be there. The control,
// the same without flushes, must lose some, or the test would show nothing.
// See package powercut for what such a cut is and is not.
func TestPowerCut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
	t.Run("flushed", func(t *testing.T) {
		if err := cuts(t, 60); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("control without flushes", func(t *testing.T) {
		err := cuts(t, 60, childNoSync+"=1")
		if err == nil {
			t.Fatal("without flushes nothing was lost: the test cannot see a loss")
		}
		t.Logf("as it must be: %v", err)
	})
}

func command(t testing.TB, name string, args ...string) error {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}

func cuts(t *testing.T, states int, env ...string) error {
	tmp, disk, mnt := t.TempDir(), t.TempDir(), t.TempDir()
	image := filepath.Join(tmp, "image")
	for _, c := range [][]string{{"truncate", "-s", "16M", image}, {"mkfs.ext4", "-q", "-F", image}} {
		if err := command(t, c[0], c[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	d, err := powercut.Serve(disk, data)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := command(t, "mount", "-o", "loop", filepath.Join(disk, "disk"), mnt); err != nil {
		t.Fatal(err)
	}
	order := record(t, d, mnt, env)
	if err := command(t, "umount", mnt); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewSource(1))
	return d.States(states, r, func(b []byte, mark int) error { return afterCut(t, image, mnt, b, order[:mark]) })
}

type ackLine struct {
	seq uint64
	sum uint32
}

// record runs a child on the disk until it has committed 300 messages.
func record(t *testing.T, d *powercut.Disk, mnt string, env []string) (order []ackLine) {
	cmd, lines := startChild(t, filepath.Join(mnt, "outbox"), env...)
	for lines.Scan() {
		seq, sum, ok := parseAck(lines.Text())
		if !ok {
			continue
		}
		if len(order) == 0 {
			d.Record()
		}
		order = append(order, ackLine{seq, sum})
		d.Mark(len(order))
		if len(order) == 300 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	for lines.Scan() { // what it still said; not marked, so not asked for
	}
	_ = cmd.Wait() // killed
	writes, flushes := d.Stop()
	t.Logf("%d messages, %d writes, %d flushes", len(order), writes, flushes)
	if len(order) < 300 {
		t.Fatal("the child ended early")
	}
	return order
}

func afterCut(t *testing.T, image, mnt string, b []byte, order []ackLine) error {
	if err := os.WriteFile(image, b, 0o600); err != nil {
		return err
	}
	if err := command(t, "mount", "-o", "loop", image, mnt); err != nil {
		return err
	}
	acked := map[uint64]uint32{}
	for _, a := range order {
		acked[a.seq] = a.sum
	}
	missing := verify(t, filepath.Join(mnt, "outbox"), acked)
	if err := command(t, "umount", mnt); err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d committed messages are not there", len(missing), len(acked))
	}
	return nil
}
