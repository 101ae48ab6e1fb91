package pty

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// PTY is one pseudo-terminal. Read and Write act on the device's end; Path is
// the port that a driver opens. Bytes pass unchanged in both directions.
type PTY struct {
	// Path is the port, like /dev/pts/7. It is gone after Close.
	Path string

	master *os.File
	port   *os.File // kept open, so that the last user's leaving is no hangup
}

// Open makes a pseudo-terminal.
func Open() (*PTY, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("pty: %w", err)
	}
	path, err := unlock(master)
	if err != nil {
		master.Close()
		return nil, fmt.Errorf("pty: unlocking the port: %w", err)
	}
	port, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return nil, fmt.Errorf("pty: opening the port: %w", err)
	}
	return &PTY{Path: path, master: master, port: port}, nil
}

// unlock makes the port usable, sets it to raw mode and returns its path.
// A new port is in line mode with echo, which would send what a device says
// before any driver came back to the device.
func unlock(master *os.File) (path string, err error) {
	conn, err := master.SyscallConn()
	if err != nil {
		return "", err
	}
	cerr := conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
			return
		}
		var n int
		if n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err != nil {
			return
		}
		path = "/dev/pts/" + strconv.Itoa(n)
		var t *unix.Termios
		if t, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err != nil {
			return
		}
		t.Iflag = 0
		t.Oflag = 0
		t.Lflag = 0
		t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD | unix.CLOCAL
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
	})
	if cerr != nil {
		return "", cerr
	}
	return path, err
}

// Read reads what the driver sent. Close ends it.
func (p *PTY) Read(b []byte) (int, error) { return p.master.Read(b) }

// Write sends to the driver.
func (p *PTY) Write(b []byte) (int, error) { return p.master.Write(b) }

// Close unplugs the port: its path vanishes, and who has it open gets an error.
func (p *PTY) Close() error {
	// In this order: without the port, a Read in progress would end with an
	// input/output error instead of os.ErrClosed.
	return errors.Join(p.master.Close(), p.port.Close())
}

// Link makes name a symbolic link to the port, as udev does under
// /dev/serial/by-id. An older link of that name is replaced in one step; a file is not.
func (p *PTY) Link(name string) error {
	if old, err := os.Lstat(name); err == nil && old.Mode()&os.ModeSymlink == 0 {
		return fmt.Errorf("pty: %s exists and is no link; choose another name for the port", name)
	}
	tmp := name + ".new"
	if err := os.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("pty: %w", err)
	}
	if err := os.Symlink(p.Path, tmp); err != nil {
		return fmt.Errorf("pty: %w", err)
	}
	if err := os.Rename(tmp, name); err != nil {
		return fmt.Errorf("pty: %w", err)
	}
	return nil
}
