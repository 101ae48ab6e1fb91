//go:build linux

package peer

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"tidemark/test/bench/process"
)

// broker is one running Mosquitto.
type broker struct {
	name, addr string
	cmd        *exec.Cmd
	log        string
	exited     chan struct{} // closed when the process has ended
}

// startBroker writes a configuration below dir, starts Mosquitto with it and waits until it accepts connections. The window
// bounds the unacknowledged messages of each client and of the bridge.
func startBroker(ctx context.Context, dir, name string, window int, extra string) (*broker, error) {
	path, err := mosquitto()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, name)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	conf := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\n"+
		"persistence true\npersistence_location %s/\n"+
		"max_queued_messages 0\nmax_inflight_messages %d\nset_tcp_nodelay true\n%s", port, home, window, extra)
	if os.Geteuid() == 0 {
		conf = "user root\n" + conf // else it would become a user that may not write here
	}
	file := filepath.Join(home, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	b := &broker{name: name, addr: "127.0.0.1:" + strconv.Itoa(port), log: filepath.Join(home, "log"), exited: make(chan struct{})}
	out, err := os.Create(b.log)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	defer func() { _ = out.Close() }() // the process has its own copy
	b.cmd = exec.Command(path, "-c", file)
	b.cmd.Stdout, b.cmd.Stderr = out, out
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("peer: start the %s broker: %w", name, err)
	}
	go func() { _ = b.cmd.Wait(); close(b.exited) }()
	if err := b.waitReady(ctx); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

// waitReady returns when the broker accepts connections, or says why it never will.
func (b *broker) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		if c, err := net.Dial("tcp4", b.addr); err == nil {
			_ = c.Close()
			return nil
		}
		select {
		case <-b.exited:
			said, _ := os.ReadFile(b.log)
			return fmt.Errorf("peer: the %s broker ended at its start: %s", b.name, said)
		case <-ctx.Done():
			return fmt.Errorf("peer: the %s broker does not accept connections on %s: %w", b.name, b.addr, ctx.Err())
		case <-retry.C:
		}
	}
}

// usage returns what the broker has used so far.
func (b *broker) usage() (process.Usage, error) { return process.Read(b.cmd.Process.Pid) }

// stop ends the process without letting it save its queue: nobody reads that any more.
func (b *broker) stop() {
	_ = b.cmd.Process.Kill()
	<-b.exited
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("peer: no free port on loopback: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
