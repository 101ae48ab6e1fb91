package line

import (
	"fmt"

	"github.com/aldas/go-modbus-client/packet"
)

// Kind is one of the four tables of a slave. Its value is the function that reads it.
type Kind uint8

// The tables.
const (
	Coil     = Kind(packet.FunctionReadCoils)
	Discrete = Kind(packet.FunctionReadDiscreteInputs)
	Holding  = Kind(packet.FunctionReadHoldingRegisters)
	Input    = Kind(packet.FunctionReadInputRegisters)
)

// IsBit reports whether the table's cells are single bits.
func (k Kind) IsBit() bool { return k == Coil || k == Discrete }

func (k Kind) String() string {
	return [...]string{Coil: "coil", Discrete: "discrete", Holding: "holding", Input: "input"}[k]
}

// Question is one read request, free of how it is framed.
type Question struct {
	Unit     uint8
	Kind     Kind
	Address  uint16 // of the protocol, from 0
	Quantity uint16 // 1 to 125 registers or 2000 bits, not beyond the table's end
}

// form is all that tells one RTU answer of a unit from another.
type form struct {
	kind  Kind
	bytes int // of data
}

func (q Question) form() form {
	if q.Kind.IsBit() {
		return form{q.Kind, (int(q.Quantity) + 7) / 8}
	}
	return form{q.Kind, 2 * int(q.Quantity)}
}

// limit is the largest quantity that one request may have.
func (q Question) limit() int {
	if q.Kind.IsBit() {
		return int(packet.MaxCoilsInReadResponse)
	}
	return int(packet.MaxRegistersInReadResponse)
}

func (q Question) String() string {
	return fmt.Sprintf("unit %d, %s %d to %d", q.Unit, q.Kind, q.Address, int(q.Address)+int(q.Quantity)-1)
}

// rtu returns the request as an RTU frame.
func (q Question) rtu() ([]byte, error) {
	var r packet.Request
	var err error
	switch q.Kind {
	case Coil:
		r, err = packet.NewReadCoilsRequestRTU(q.Unit, q.Address, q.Quantity)
	case Discrete:
		r, err = packet.NewReadDiscreteInputsRequestRTU(q.Unit, q.Address, q.Quantity)
	case Input:
		r, err = packet.NewReadInputRegistersRequestRTU(q.Unit, q.Address, q.Quantity)
	default:
		r, err = packet.NewReadHoldingRegistersRequestRTU(q.Unit, q.Address, q.Quantity)
	}
	if err != nil {
		return nil, err
	}
	return r.Bytes(), nil
}

// tcp returns the request as a TCP frame of the given transaction.
func (q Question) tcp(transaction uint16) ([]byte, error) {
	h := packet.MBAPHeader{TransactionID: transaction}
	switch q.Kind {
	case Coil:
		r, err := packet.NewReadCoilsRequestTCP(q.Unit, q.Address, q.Quantity)
		if err != nil {
			return nil, err
		}
		r.MBAPHeader = h
		return r.Bytes(), nil
	case Discrete:
		r, err := packet.NewReadDiscreteInputsRequestTCP(q.Unit, q.Address, q.Quantity)
		if err != nil {
			return nil, err
		}
		r.MBAPHeader = h
		return r.Bytes(), nil
	case Input:
		r, err := packet.NewReadInputRegistersRequestTCP(q.Unit, q.Address, q.Quantity)
		if err != nil {
			return nil, err
		}
		r.MBAPHeader = h
		return r.Bytes(), nil
	}
	r, err := packet.NewReadHoldingRegistersRequestTCP(q.Unit, q.Address, q.Quantity)
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
