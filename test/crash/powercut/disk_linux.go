package powercut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const sector = 512

type event struct {
	kind byte // 'W', 'F' or 'M'
	off  int64
	data []byte
	mark int
}

// Disk is the recording disk.
type Disk struct {
	mu     sync.Mutex
	base   []byte // when recording began
	cur    []byte
	events []event
	record bool
	dev    *os.File
	dir    string
	done   chan struct{}
}

// Serve mounts a file system with one file, "disk", that holds image, on dir.
func Serve(dir string, image []byte) (*Disk, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("powercut: open /dev/fuse: %w", err)
	}
	opts := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := unix.Mount("powercut", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("powercut: mount: %w", err)
	}
	d := &Disk{cur: image, dev: os.NewFile(uintptr(fd), "fuse"), dir: dir, done: make(chan struct{})}
	go d.serve()
	return d, nil
}

// Close unmounts the file system.
func (d *Disk) Close() error {
	err := unix.Unmount(d.dir, 0)
	if err != nil {
		err = errors.Join(err, unix.Unmount(d.dir, unix.MNT_DETACH))
	}
	<-d.done // the kernel ends the connection with the unmount
	return errors.Join(err, d.dev.Close())
}

// Record begins the recording: what the disk holds now is safe.
func (d *Disk) Record() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.base, d.record, d.events = append([]byte(nil), d.cur...), true, nil
}

// Mark puts n into the recording: up to here n was promised to be safe.
func (d *Disk) Mark(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.record {
		d.events = append(d.events, event{kind: 'M', mark: n})
	}
}

// Stop ends the recording; later writes are not in it.
func (d *Disk) Stop() (writes, flushes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.record = false
	for _, e := range d.events {
		switch e.kind {
		case 'W':
			writes++
		case 'F':
			flushes++
		}
	}
	return writes, flushes
}

// States calls check with up to n crash states, in the order of time, each
// with the last mark before the power went.
func (d *Disk) States(n int, r *rand.Rand, check func(image []byte, mark int) error) error {
	safe := append([]byte(nil), d.base...)
	points := map[int]bool{}
	for _, i := range r.Perm(len(d.events))[:min(n, len(d.events))] {
		points[i] = true
	}
	var cache []event
	mark := 0
	for i, e := range d.events {
		if points[i] {
			image := append([]byte(nil), safe...)
			keep := []int{0, 30, 50, 80, 100}[r.Intn(5)]
			for _, w := range cache {
				for at := 0; at < len(w.data); at += sector {
					if r.Intn(100) < keep {
						copy(image[w.off+int64(at):], w.data[at:min(at+sector, len(w.data))])
					}
				}
			}
			if err := check(image, mark); err != nil {
				return fmt.Errorf("power cut at event %d, mark %d: %w", i, mark, err)
			}
		}
		switch e.kind {
		case 'W':
			cache = append(cache, e)
		case 'F':
			for _, w := range cache {
				copy(safe[w.off:], w.data)
			}
			cache = nil
		case 'M':
			mark = e.mark
		}
	}
	return nil
}

// The FUSE protocol as of <linux/fuse.h>, version 7.31, as far as one file needs it.
const (
	opLookup, opForget, opGetattr, opSetattr      = 1, 2, 3, 4
	opOpen, opRead, opWrite, opStatfs             = 14, 15, 16, 17
	opRelease, opFsync, opFlush, opInit           = 18, 20, 25, 26
	opOpendir, opReaddir, opReleasedir, opDestroy = 27, 28, 29, 38
	opInterrupt, opBatchForget                    = 36, 42

	inHeader  = 40
	outHeader = 16
	maxWrite  = 128 << 10
)

var le = binary.NativeEndian

func (d *Disk) serve() {
	defer close(d.done)
	buf := make([]byte, maxWrite+8192)
	for {
		n, err := unix.Read(int(d.dev.Fd()), buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || n < inHeader {
			return // unmounted
		}
		op, unique, node := le.Uint32(buf[4:]), le.Uint64(buf[8:]), le.Uint64(buf[16:])
		if op == opForget || op == opBatchForget || op == opInterrupt {
			continue
		}
		body, errno := d.answer(op, node, buf[inHeader:n])
		out := make([]byte, outHeader, outHeader+len(body))
		le.PutUint32(out, uint32(outHeader+len(body)))
		le.PutUint32(out[4:], uint32(-int32(errno)))
		le.PutUint64(out[8:], unique)
		if _, err := unix.Write(int(d.dev.Fd()), append(out, body...)); err != nil && !errors.Is(err, unix.ENOENT) {
			return
		}
	}
}

func (d *Disk) answer(op uint32, node uint64, in []byte) ([]byte, unix.Errno) {
	switch op {
	case opInit:
		out := make([]byte, 64)
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[8:], 64<<10) // readahead
		le.PutUint16(out[16:], 12)    // background
		le.PutUint16(out[18:], 9)     // congestion
		le.PutUint32(out[20:], maxWrite)
		le.PutUint32(out[24:], 1) // time granularity
		return out, 0
	case opLookup:
		if string(in) != "disk\x00" {
			return nil, unix.ENOENT
		}
		out := make([]byte, 40)
		le.PutUint64(out, 2)
		le.PutUint64(out[16:], 3600)
		le.PutUint64(out[24:], 3600)
		return append(out, d.attr(2)...), 0
	case opGetattr, opSetattr:
		out := make([]byte, 16)
		le.PutUint64(out, 3600)
		return append(out, d.attr(node)...), 0
	case opOpen, opOpendir:
		out := make([]byte, 16)
		le.PutUint32(out[8:], 1) // FOPEN_DIRECT_IO: no second cache in front of the disk
		return out, 0
	case opRead:
		return d.read(int64(le.Uint64(in[8:])), int(le.Uint32(in[16:]))), 0
	case opWrite:
		return d.write(int64(le.Uint64(in[8:])), in[40:40+le.Uint32(in[16:])]), 0
	case opFsync:
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.record {
			d.events = append(d.events, event{kind: 'F'})
		}
		return nil, 0
	case opStatfs:
		return make([]byte, 80), 0
	case opRelease, opReleasedir, opFlush, opReaddir, opDestroy:
		return nil, 0
	}
	return nil, unix.ENOSYS
}

func (d *Disk) attr(node uint64) []byte {
	out := make([]byte, 88)
	le.PutUint64(out, node)
	mode := uint32(unix.S_IFDIR | 0o755)
	if node == 2 {
		mode = unix.S_IFREG | 0o600
		le.PutUint64(out[8:], uint64(len(d.cur)))
		le.PutUint64(out[16:], uint64(len(d.cur)/512))
	}
	le.PutUint32(out[60:], mode)
	le.PutUint32(out[64:], 1) // links
	le.PutUint32(out[80:], 4096)
	return out
}

func (d *Disk) read(off int64, n int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	off = min(off, int64(len(d.cur)))
	return append([]byte(nil), d.cur[off:min(off+int64(n), int64(len(d.cur)))]...)
}

func (d *Disk) write(off int64, data []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]byte, 8)
	if off < 0 || off+int64(len(data)) > int64(len(d.cur)) {
		return out
	}
	copy(d.cur[off:], data)
	if d.record {
		d.events = append(d.events, event{kind: 'W', off: off, data: append([]byte(nil), data...)})
	}
	le.PutUint32(out, uint32(len(data)))
	return out
}
