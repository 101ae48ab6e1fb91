package link

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// userTimeout is how long sent data may stay without a TCP acknowledgement
// before the kernel ends the connection (TCP_USER_TIMEOUT, RFC 5482). Without
// it, retransmissions to a way that is gone back off to minutes, and a link that
// is back lies idle.
const userTimeout = 10 * time.Second

func giveUpEarly(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	if err == nil {
		err = failed
	}
	return err
}
