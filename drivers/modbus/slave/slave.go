package slave

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/aldas/go-modbus-client/packet"
)

// Slave is one unit on a line.
type Slave struct {
	Unit uint8
	Bank *Bank

	refusal atomic.Uint32
}

// Refuse makes the slave answer everything with an exception; 0 ends that.
func (s *Slave) Refuse(code uint8) { s.refusal.Store(uint32(code)) }

// requestMax is the longest RTU frame.
const requestMax = 256

// Serve answers requests until line fails. The end of line is no error.
func (s *Slave) Serve(line io.ReadWriter) error {
	buf := make([]byte, 0, 2*requestMax)
	for {
		n, err := line.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		used := 0
		for {
			frame, skip := next(buf[used:])
			used += skip
			if frame == nil {
				break
			}
			if answer := s.answer(frame); answer != nil {
				if _, err := line.Write(answer); err != nil {
					return fmt.Errorf("slave: answering: %w", err)
				}
			}
		}
		buf = buf[:copy(buf, buf[used:])]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("slave: listening: %w", err)
		}
	}
}

// next returns the first sound request in buf, and how many bytes it and what
// is before it take. Without one it returns how many bytes can't begin one.
func next(buf []byte) (frame []byte, skip int) {
	for at := 0; at < len(buf); at++ {
		b := buf[at:]
		n := requestLength(b)
		if n > len(b) {
			return nil, at
		}
		if n > 0 && binary.LittleEndian.Uint16(b[n-2:]) == packet.CRC16(b[:n-2]) {
			return b[:n], at + n
		}
	}
	return nil, len(buf)
}

// requestLength returns how long the request is that b begins with: more than
// len(b) if more bytes must tell, 0 if b begins no request.
func requestLength(b []byte) int {
	if len(b) < 2 {
		return 2 + len(b)
	}
	switch fn := b[1]; {
	case fn >= 1 && fn <= 6:
		return 8
	case fn == 15 || fn == 16:
		if len(b) < 7 {
			return 7 + len(b)
		}
		if n := 9 + int(b[6]); n <= requestMax {
			return n
		}
	}
	return 0
}

// answer returns the answer to a sound frame, or nil if there is to be none.
func (s *Slave) answer(frame []byte) []byte {
	unit, fn := frame[0], frame[1]
	if unit != s.Unit {
		return nil
	}
	if code := s.refusal.Load(); code != 0 {
		return exception(unit, fn, packet.ErrCode(code))
	}
	if fn > uint8(Input) {
		return exception(unit, fn, packet.ErrIllegalFunction)
	}
	if _, err := packet.ParseRTURequest(frame); err != nil {
		return exception(unit, fn, packet.ErrIllegalDataValue)
	}
	address, quantity := binary.BigEndian.Uint16(frame[2:]), binary.BigEndian.Uint16(frame[4:])
	values, ok := s.Bank.get(Kind(fn), address, quantity)
	if !ok {
		return exception(unit, fn, packet.ErrIllegalDataAddress)
	}
	return encode(unit, Kind(fn), values)
}

func exception(unit, fn uint8, code packet.ErrCode) []byte {
	return packet.ErrorResponseRTU{UnitID: unit, Function: fn &^ 0x80, Code: code}.Bytes()
}

func encode(unit uint8, k Kind, values []uint16) []byte {
	var data []byte
	if k == Coil || k == Discrete {
		on := make([]bool, len(values))
		for i, v := range values {
			on[i] = v != 0
		}
		data = packet.CoilsToBytes(on)
	} else {
		for _, v := range values {
			data = binary.BigEndian.AppendUint16(data, v)
		}
	}
	n := uint8(len(data))
	switch k {
	case Coil:
		return packet.ReadCoilsResponseRTU{ReadCoilsResponse: packet.ReadCoilsResponse{UnitID: unit, CoilsByteLength: n, Data: data}}.Bytes()
	case Discrete:
		return packet.ReadDiscreteInputsResponseRTU{ReadDiscreteInputsResponse: packet.ReadDiscreteInputsResponse{UnitID: unit, InputsByteLength: n, Data: data}}.Bytes()
	case Holding:
		return packet.ReadHoldingRegistersResponseRTU{ReadHoldingRegistersResponse: packet.ReadHoldingRegistersResponse{UnitID: unit, RegisterByteLen: n, Data: data}}.Bytes()
	}
	return packet.ReadInputRegistersResponseRTU{ReadInputRegistersResponse: packet.ReadInputRegistersResponse{UnitID: unit, RegisterByteLen: n, Data: data}}.Bytes()
}
