package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"tidemark/drivers"
)

// bufSize is what is read at once, and all that is held of a file.
const bufSize = 128 << 10

// lines cuts a file into lines. After a failure it goes on where it stopped,
// with a newly opened file.
type lines struct {
	path string

	mu     sync.Mutex // guards file and closed, since close may come from elsewhere
	file   *os.File
	closed bool

	buf  []byte // of bufSize; buf[r:w] is read but not taken
	r, w int
	off  int64 // of the file, where buf[w] would lie
	line int   // of the line at r, from 1
	eof  bool
	skip bool // the line at r is the rest of one that is too long
}

// next returns the line at r without its end, and how many bytes to take for
// it. io.EOF says that there is none. It may be called again for the same line.
func (l *lines) next(ctx context.Context) (line []byte, n int, err error) {
	for {
		if i := bytes.IndexByte(l.buf[l.r:l.w], '\n'); i >= 0 {
			return trimCR(l.buf[l.r : l.r+i]), i + 1, nil
		}
		switch {
		case l.eof && l.r == l.w:
			return nil, 0, io.EOF
		case l.eof:
			return trimCR(l.buf[l.r:l.w]), l.w - l.r, nil
		case l.w-l.r > MaxRow:
			// Too long already: hand out what is here; the rest follows as part
			// of the same line, which take sees to.
			return l.buf[l.r:l.w], l.w - l.r, nil
		}
		if err := l.fill(ctx); err != nil {
			return nil, 0, err
		}
	}
}

// take moves past the n bytes that next told of. It says whether the line ended
// there: a line that is too long comes in pieces.
func (l *lines) take(n int) (ended bool) {
	ended = l.buf[l.r+n-1] == '\n' || l.eof && l.r+n == l.w
	l.r += n
	if ended {
		l.line++
	}
	return ended
}

func trimCR(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		return b[:n-1]
	}
	return b
}

// fill reads more into the buffer.
func (l *lines) fill(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := l.open()
	if err != nil {
		return err
	}
	if l.buf == nil {
		l.buf = make([]byte, bufSize)
	}
	l.w = copy(l.buf, l.buf[l.r:l.w])
	l.r = 0
	n, err := f.Read(l.buf[l.w:])
	l.w += n
	l.off += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		l.eof = true
	case err != nil:
		l.drop()
		return l.failed(err)
	}
	return nil
}

// open returns the file, at off.
func (l *lines) open() (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if l.file != nil {
		return l.file, nil
	}
	st, err := os.Stat(l.path)
	if err == nil && !st.Mode().IsRegular() {
		// Opening a FIFO would block where no context reaches.
		err = fmt.Errorf("%s is no regular file", l.path)
	}
	if err != nil {
		return nil, l.failed(err)
	}
	f, err := os.Open(l.path)
	if err != nil {
		return nil, l.failed(err)
	}
	if l.off > 0 {
		if _, err := f.Seek(l.off, io.SeekStart); err != nil {
			return nil, errors.Join(l.failed(err), f.Close())
		}
	}
	l.file = f
	return f, nil
}

func (l *lines) failed(err error) error {
	reason := drivers.ReasonFailed
	if errors.Is(err, fs.ErrNotExist) {
		reason = drivers.ReasonNotFound
	}
	if errors.Is(err, os.ErrClosed) {
		return ErrClosed
	}
	return &drivers.ReadError{Reason: reason,
		Err: fmt.Errorf("replay: reading the recording at line %d: %w", max(l.line, 1), err)}
}

// rewind goes back to the start of the file, which may be another by then.
func (l *lines) rewind() {
	l.drop()
	l.r, l.w, l.off, l.line, l.eof, l.skip = 0, 0, 0, 1, false, false
}

// drop closes the file, so that the next fill opens it again. What Close says
// of a file that was only read, and failed, tells nothing more.
func (l *lines) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

// close ends it for good.
func (l *lines) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
