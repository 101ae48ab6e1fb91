package line

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/aldas/go-modbus-client/packet"
)

func asked(unit, fn uint8, address, quantity uint16) (Question, bool) {
	q := Question{Unit: unit, Kind: Kind(fn), Address: address, Quantity: quantity}
	return q, fn >= 1 && fn <= 4 && quantity >= 1 && int(quantity) <= q.limit()
}

// What is found is really there: a whole frame of the right unit, function and
// length with a right checksum. And nothing makes the search fail.
func FuzzLookRTU(f *testing.F) {
	answer := []byte{17, 3, 4, 0, 1, 0, 2, 0, 0}
	crc := packet.CRC16(answer[:7])
	binary.LittleEndian.PutUint16(answer[7:], crc)
	f.Add(answer, uint8(17), uint8(3), uint16(0), uint16(2))
	f.Add(append([]byte{0, 255}, answer...), uint8(17), uint8(3), uint16(0), uint16(2))
	f.Add([]byte{17, 0x83, 2, 0xc1, 0x34}, uint8(17), uint8(3), uint16(0), uint16(2))
	f.Add([]byte{17, 1, 3, 0, 0, 24, 1, 2}, uint8(17), uint8(1), uint16(768), uint16(24))
	f.Fuzz(func(t *testing.T, buf []byte, unit, fn uint8, address, quantity uint16) {
		q, ok := asked(unit, fn, address, quantity)
		if !ok {
			return
		}
		early, late := lookRTU(buf, q, false), lookRTU(buf, q, true)
		if early.found && (!late.found || !bytes.Equal(early.data, late.data)) {
			t.Fatalf("found %+v early, but %+v in the end", early, late)
		}
		if !late.found {
			return
		}
		frame := []byte{unit, fn | refused, late.exception}
		if late.data != nil {
			if len(late.data) != q.form().bytes {
				t.Fatalf("%d bytes of data for %v", len(late.data), q)
			}
			frame = append([]byte{unit, fn, uint8(len(late.data))}, late.data...)
		}
		frame = binary.LittleEndian.AppendUint16(frame, packet.CRC16(frame))
		if !bytes.Contains(buf, frame) {
			t.Fatalf("% x is not in % x", frame, buf)
		}
		if request, err := q.rtu(); err != nil || bytes.Equal(request, frame) {
			t.Fatalf("took the request itself, %v", err)
		}
	})
}

func FuzzLookTCP(f *testing.F) {
	f.Add([]byte{0, 7, 0, 0, 0, 7, 17, 3, 4, 0, 1, 0, 2}, uint8(17), uint8(3), uint16(2), uint16(7))
	f.Add([]byte{0, 6, 0, 0, 0, 3, 17, 0x83, 2, 0, 7, 0, 0, 0, 3, 17, 0x83, 2}, uint8(17), uint8(3), uint16(2), uint16(7))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"), uint8(17), uint8(3), uint16(2), uint16(7))
	f.Fuzz(func(t *testing.T, buf []byte, unit, fn uint8, quantity, transaction uint16) {
		q, ok := asked(unit, fn, 0, quantity)
		if !ok {
			return
		}
		s, used, err := lookTCP(buf, q, transaction)
		if used < 0 || used > len(buf) || err != nil && s.found {
			t.Fatalf("used %d of %d bytes, %+v, %v", used, len(buf), s, err)
		}
		if !s.found {
			return
		}
		pdu := []byte{unit, fn | refused, s.exception}
		if s.data != nil {
			if len(s.data) != q.form().bytes {
				t.Fatalf("%d bytes of data for %v", len(s.data), q)
			}
			pdu = append([]byte{unit, fn, uint8(len(s.data))}, s.data...)
		}
		frame := binary.BigEndian.AppendUint16(nil, transaction)
		frame = append(frame, 0, 0, 0, uint8(len(pdu)))
		if frame = append(frame, pdu...); !bytes.HasSuffix(buf[:used], frame) {
			t.Fatalf("% x is not at the end of % x", frame, buf[:used])
		}
	})
}
