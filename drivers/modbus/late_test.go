//go:build linux

package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aldas/go-modbus-client/packet"

	"tidemark/drivers"
	"tidemark/drivers/drivertest/pty"
)

// tardy is a slave that answers every question in order, but often late. Each
// register of an answer holds the number of the question, so a reading tells
// which question it answers.
type tardy struct {
	port  *pty.PTY
	asked atomic.Uint32
	rng   *rand.Rand
	lose  bool
}

func (s *tardy) serve(timeout time.Duration) {
	type answer struct {
		frame []byte
		at    time.Time
	}
	answers := make(chan answer, 1000)
	var wg sync.WaitGroup
	wg.Go(func() {
		for a := range answers {
			time.Sleep(time.Until(a.at)) // the slave's slowness
			if _, err := s.port.Write(a.frame); err != nil {
				return
			}
		}
	})
	defer func() { close(answers); wg.Wait() }()
	var buf []byte
	chunk := make([]byte, 256)
	for {
		n, err := s.port.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for len(buf) >= 8 {
			q := buf[:8]
			buf = buf[8:]
			number := uint16(s.asked.Add(1))
			delay := time.Duration(0)
			switch s.rng.IntN(6) {
			case 0: // late, by up to three questions
				delay = timeout + time.Duration(s.rng.Int64N(int64(3*timeout)))
			case 1: // about when the master gives up
				delay = timeout - 3*time.Millisecond + time.Duration(s.rng.Int64N(int64(6*time.Millisecond)))
			case 2:
				if s.lose {
					continue
				}
			}
			frame := []byte{q[0], q[1], 2 * q[5]}
			for range q[5] {
				frame = binary.BigEndian.AppendUint16(frame, number)
			}
			crc := packet.CRC16(frame)
			answers <- answer{append(frame, byte(crc), byte(crc>>8)), time.Now().Add(delay)}
		}
	}
}

// However late answers come, no reading is older than its own poll.
func TestLateAnswersAreNeverTakenForThisOne(t *testing.T) {
	for _, lose := range []bool{false, true} {
		t.Run(map[bool]string{false: "late", true: "late or lost"}[lose], func(t *testing.T) {
			t.Parallel()
			testLate(t, lose)
		})
	}
}

func testLate(t *testing.T, lose bool) {
	const timeout = 15 * time.Millisecond
	port, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	slave := &tardy{port: port, rng: rand.New(rand.NewPCG(seed, 0)), lose: lose}
	var wg sync.WaitGroup
	wg.Go(func() { slave.serve(timeout) })
	t.Cleanup(func() { port.Close(); wg.Wait() })

	l := openLine(t, profile(t, "port: "+port.Path+"\nbaud: 115200\ntimeout: 15ms\nretries: 1", "unit: 1\nmax_gap: 0",
		map[string]string{"a": "holding: 0", "b": "holding: 10\ntype: uint32", "c": "holding: 20", "d": "input: 0", "e": "holding: 31"}))
	s := l.sensor.(*sensor)
	good, bad := 0, 0
	for start := time.Now(); good < 200 || bad < 40; {
		if time.Since(start) > time.Minute {
			t.Fatalf("after a minute there are %d good readings and %d failed ones", good, bad)
		}
		s.devices[0].breaker.answered() // each poll really asks
		before := slave.asked.Load()
		got, err := l.poll(0)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		for name, r := range got {
			if r.Quality != drivers.Good {
				bad++
				continue
			}
			good++
			number := uint16(r.Value.Int())
			if age := int16(uint16(before) - number); age >= 0 {
				t.Fatalf("%s answers question %d, but question %d had been asked before its poll", name, number, before)
			}
		}
	}
	t.Logf("%d good readings, %d failed ones, %d questions", good, bad, slave.asked.Load())
}

// The same with a slave that is not ours: its answer is held back until the next
// question of the same form has been put.
func TestAnswerDuringTheNextQuestion(t *testing.T) {
	t.Parallel()
	cable := newCable(t)
	pymodbus(t, "rtu", cable.DevicePort(), "17")
	l := openLine(t, profile(t, "port: "+cable.DriverPort()+fast, "unit: 17", map[string]string{"temp": knownPoints()["flow_temp"]}))
	l.until(0, "temp", "")

	var held []byte
	cable.ToDriver(whole(func(f []byte, to io.Writer) error {
		if held == nil {
			held = append([]byte(nil), f...)
			binary.BigEndian.PutUint16(held[3:], 9999) // what the device measured back then
			seal(held)
			return nil
		}
		_, err := to.Write(append(held, f...))
		held = nil
		return err
	}))
	if got, err := l.poll(0); got["temp"].Reason != drivers.ReasonTimeout {
		t.Fatalf("%v, %v", got, err)
	}
	for range 6 {
		got, err := l.poll(0)
		if r := got["temp"]; r.Quality == drivers.Good && r.Value != drivers.FloatValue(71.3) {
			t.Fatalf("took an old answer: %v, %v", r, err)
		}
	}
	cable.ToDriver(nil)
	l.until(0, "temp", "")
}
