package modbus

import (
	"fmt"

	"github.com/aldas/go-modbus-client/packet"
)

// question is one read request, free of how it is framed.
type question struct {
	unit     uint8
	kind     kind
	address  uint16
	quantity uint16
}

// form is all that tells one RTU answer of a unit from another.
type form struct {
	kind  kind
	bytes int // of data
}

func (q question) form() form {
	if q.kind.isBit() {
		return form{q.kind, (int(q.quantity) + 7) / 8}
	}
	return form{q.kind, 2 * int(q.quantity)}
}

// limit is the largest quantity that one request may have.
func (q question) limit() int {
	if q.kind.isBit() {
		return int(packet.MaxCoilsInReadResponse)
	}
	return int(packet.MaxRegistersInReadResponse)
}

func (q question) String() string {
	return fmt.Sprintf("unit %d, %s %d to %d", q.unit, q.kind, q.address, int(q.address)+int(q.quantity)-1)
}

// rtu returns the request as an RTU frame.
func (q question) rtu() ([]byte, error) {
	var r packet.Request
	var err error
	switch q.kind {
	case coil:
		r, err = packet.NewReadCoilsRequestRTU(q.unit, q.address, q.quantity)
	case discrete:
		r, err = packet.NewReadDiscreteInputsRequestRTU(q.unit, q.address, q.quantity)
	case input:
		r, err = packet.NewReadInputRegistersRequestRTU(q.unit, q.address, q.quantity)
	default:
		r, err = packet.NewReadHoldingRegistersRequestRTU(q.unit, q.address, q.quantity)
	}
	if err != nil {
		return nil, err
	}
	return r.Bytes(), nil
}

// tcp returns the request as a TCP frame of the given transaction.
func (q question) tcp(transaction uint16) ([]byte, error) {
	h := packet.MBAPHeader{TransactionID: transaction}
	switch q.kind {
	case coil:
		r, err := packet.NewReadCoilsRequestTCP(q.unit, q.address, q.quantity)
		if err != nil {
			return nil, err
		}
		r.MBAPHeader = h
		return r.Bytes(), nil
	case discrete:
		r, err := packet.NewReadDiscreteInputsRequestTCP(q.unit, q.address, q.quantity)
		if err != nil {
			return nil, err
		}
		r.MBAPHeader = h
		return r.Bytes(), nil
	case input:
		r, err := packet.NewReadInputRegistersRequestTCP(q.unit, q.address, q.quantity)
		if err != nil {
			return nil, err
		}
		r.MBAPHeader = h
		return r.Bytes(), nil
	}
	r, err := packet.NewReadHoldingRegistersRequestTCP(q.unit, q.address, q.quantity)
	if err != nil {
		return nil, err
	}
	r.MBAPHeader = h
	return r.Bytes(), nil
}

// data returns the data of a parsed answer.
func data(r packet.Response) []byte {
	switch r := r.(type) {
	case *packet.ReadCoilsResponseRTU:
		return r.Data
	case *packet.ReadDiscreteInputsResponseRTU:
		return r.Data
	case *packet.ReadHoldingRegistersResponseRTU:
		return r.Data
	case *packet.ReadInputRegistersResponseRTU:
		return r.Data
	case *packet.ReadCoilsResponseTCP:
		return r.Data
	case *packet.ReadDiscreteInputsResponseTCP:
		return r.Data
	case *packet.ReadHoldingRegistersResponseTCP:
		return r.Data
	case *packet.ReadInputRegistersResponseTCP:
		return r.Data
	}
	return nil
}
