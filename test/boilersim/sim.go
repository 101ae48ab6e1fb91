package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"tidemark/drivers/drivertest/pty"
	"tidemark/drivers/modbus/slave"
)

var errUsage = errors.New("wrong usage")

// tick is how often the boiler moves on.
const tick = 100 * time.Millisecond

// sim is the boiler room with its port.
type sim struct {
	link  string
	speed float64
	slave *slave.Slave
	out   io.Writer

	port    *pty.PTY // nil while unplugged
	serving sync.WaitGroup
}

// run simulates until ctx is done or in ends.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("boilersim", flag.ContinueOnError)
	link := flags.String("link", "", "where to put the link to the port")
	unit := flags.Int("unit", 1, "the slave's address, 1 to 247")
	speed := flags.Float64("speed", 1, "simulated seconds a second, up to 10")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if *link == "" || *unit < 1 || *unit > 247 || *speed <= 0 || *speed > 10 || flags.NArg() > 0 {
		return fmt.Errorf("%w: -link is needed, -unit is 1 to 247, -speed above 0 and up to 10", errUsage)
	}
	s := &sim{link: *link, speed: *speed, out: out, slave: &slave.Slave{Unit: uint8(*unit), Bank: &slave.Bank{}}}
	return s.run(ctx, in)
}

func (s *sim) run(ctx context.Context, in io.Reader) error {
	b := newBoiler(uint64(time.Now().UnixNano()))
	b.step(0.01)
	show(b, s.slave.Bank)
	if err := s.obey("plug"); err != nil {
		return err
	}
	defer func() { s.unplug(); s.serving.Wait() }()
	commands := make(chan string)
	go read(ctx, in, commands)
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			b.step(tick.Seconds() * s.speed)
			show(b, s.slave.Bank)
		case c, ok := <-commands:
			if !ok {
				return nil
			}
			if err := s.obey(c); err != nil {
				return err
			}
		}
	}
}

// read passes on the lines of in, and closes to at its end.
func read(ctx context.Context, in io.Reader, to chan<- string) {
	defer close(to)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		select {
		case to <- strings.TrimSpace(lines.Text()):
		case <-ctx.Done():
			return
		}
	}
}

// obey does what a line says and prints the answer.
func (s *sim) obey(command string) error {
	var answer string
	switch command {
	case "":
		return nil
	case "plug":
		if err := s.plug(); err != nil {
			return err
		}
		answer = "ready " + s.link
	case "unplug":
		s.unplug()
		answer = "unplugged"
	case "nak":
		s.slave.Refuse(4)
		answer = "refusing"
	case "ok":
		s.slave.Refuse(0)
		answer = "answering"
	default:
		answer = fmt.Sprintf("error: %q is none of unplug, plug, nak, ok", command)
	}
	_, err := fmt.Fprintln(s.out, answer)
	return err
}

func (s *sim) plug() error {
	if s.port != nil {
		return nil
	}
	p, err := pty.Open()
	if err != nil {
		return err
	}
	if err := p.Link(s.link); err != nil {
		p.Close()
		return err
	}
	s.port = p
	// It ends when the port is unplugged, and has nothing to say about that.
	s.serving.Go(func() { _ = s.slave.Serve(p) })
	return nil
}

// unplug takes the port away. That the link is gone already is no reason to stop.
func (s *sim) unplug() {
	if s.port == nil {
		return
	}
	_ = os.Remove(s.link)
	_ = s.port.Close()
	s.port = nil
}
