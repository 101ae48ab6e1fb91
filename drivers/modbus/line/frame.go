package line

import (
	"encoding/binary"
	"errors"

	"github.com/aldas/go-modbus-client/packet"
)

const (
	refused      = 0x80 // the bit of a function code that marks an exception
	rtuMax       = 256  // bytes of an RTU frame
	tcpHeader    = 6    // bytes of a TCP frame that its length does not count
	tcpLengthMax = 254  // what that length can be at most
)

// sighting is what a look at the received bytes found.
type sighting struct {
	data      []byte // the answer's data, in the received bytes
	exception uint8  // the answer's exception, if it is one
	found     bool   // data or exception is the answer

	foreign bool // a sound frame that does not fit the question
	damaged bool // a frame that fits the question in all but its checksum
	partial bool // the beginning of an answer
}

// lookRTU searches received bytes for the answer to q. Bytes before it, like the
// echo of the request, a glitch when the line turned, or a late answer to
// somebody else, are passed over. Unless last is set, it stops at the beginning
// of an answer that more bytes would complete.
func lookRTU(buf []byte, q Question, last bool) (s sighting) {
	for at := 0; at+5 <= len(buf); {
		b := buf[at:]
		switch n := answerLength(b, q); {
		case n > len(b):
			s.partial = true
			if !last {
				return s
			}
		case n > 0 && !isEcho(b[:n], q):
			if s.take(b[:n]) {
				return s
			}
			s.damaged = true
		}
		if n := soundFrame(b); n > 0 {
			s.foreign = true
			at += n
			continue
		}
		at++
	}
	if !s.found && len(buf) > 0 && len(buf) < 5 && buf[0] == q.Unit {
		s.partial = true
	}
	return s
}

// answerLength returns how long the answer is that b begins with, or 0 if b
// does not begin like an answer to q.
func answerLength(b []byte, q Question) int {
	want := q.form()
	switch {
	case b[0] != q.Unit:
		return 0
	case b[1] == uint8(q.Kind) && int(b[2]) == want.bytes:
		return 3 + want.bytes + 2
	case b[1] == uint8(q.Kind)|refused:
		return 5
	}
	return 0
}

// isEcho reports whether a frame is the request itself, as adapters that hear
// themselves send it back. For 17 to 24 coils from 768 on, a request has the form
// of its own answer; then the one answer that equals it is given up, too.
func isEcho(frame []byte, q Question) bool {
	return len(frame) == 8 && q.Kind.IsBit() &&
		frame[2] == uint8(q.Address>>8) && frame[3] == uint8(q.Address) &&
		frame[4] == uint8(q.Quantity>>8) && frame[5] == uint8(q.Quantity)
}

// take parses a frame that fits the question and checks its checksum.
func (s *sighting) take(frame []byte) bool {
	r, err := packet.ParseRTUResponseWithCRC(frame)
	var exc *packet.ErrorResponseRTU
	switch {
	case errors.As(err, &exc):
		s.exception, s.found = uint8(exc.Code), true
	case err == nil:
		s.data, s.found = data(r), true
	}
	return s.found
}

// soundFrame returns the length of the frame that b begins with, whoever it is
// for, or 0 if there is none with a right checksum.
func soundFrame(b []byte) int {
	var lengths [2]int
	switch fn := b[1] &^ refused; {
	case b[1]&refused != 0:
		lengths[0] = 5
	case fn >= 1 && fn <= 4:
		lengths[0], lengths[1] = 3+int(b[2])+2, 8
	case fn == 5 || fn == 6 || fn == 15 || fn == 16:
		lengths[0] = 8
	}
	for _, n := range lengths {
		if n >= 5 && n <= len(b) && n <= rtuMax &&
			binary.LittleEndian.Uint16(b[n-2:]) == packet.CRC16(b[:n-2]) {
			return n
		}
	}
	return 0
}

// errFraming says that a TCP stream is no longer at the beginning of a frame.
var errFraming = errors.New("the peer sends no Modbus TCP frames; check the port number")

// lookTCP searches received bytes for the answer to q in the given transaction.
// It returns how many bytes are done with. Answers of other transactions are
// late ones and passed over.
func lookTCP(buf []byte, q Question, transaction uint16) (s sighting, used int, err error) {
	for len(buf)-used >= tcpHeader {
		b := buf[used:]
		length := int(binary.BigEndian.Uint16(b[4:]))
		if b[2] != 0 || b[3] != 0 || length < 3 || length > tcpLengthMax {
			return s, used, errFraming
		}
		n := tcpHeader + length
		if n > len(b) {
			return s, used, nil
		}
		used += n
		if binary.BigEndian.Uint16(b) != transaction {
			continue
		}
		s.foreign = !s.takeTCP(b[:n], q)
		return s, used, nil
	}
	return s, used, nil
}

func (s *sighting) takeTCP(frame []byte, q Question) bool {
	unit, fn, count := frame[6], frame[7], int(frame[8])
	switch {
	case unit != q.Unit:
		return false
	case fn == uint8(q.Kind)|refused:
		s.exception, s.found = frame[8], len(frame) == 9
		return s.found
	case fn != uint8(q.Kind) || count != q.form().bytes:
		return false
	}
	r, err := packet.ParseTCPResponse(frame)
	if err == nil {
		s.data, s.found = data(r), true
	}
	return s.found
}
