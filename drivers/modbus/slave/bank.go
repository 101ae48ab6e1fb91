package slave

import "sync"

// Kind is one of the four tables of a slave; its value is the function code
// that reads it (MODBUS Application Protocol V1.1b3, section 6).
type Kind uint8

// The tables.
const (
	Coil     Kind = 1
	Discrete Kind = 2
	Holding  Kind = 3
	Input    Kind = 4
)

// Bank holds the tables. Its methods may be called from several goroutines.
// The zero Bank is empty.
type Bank struct {
	mu    sync.Mutex
	cells map[Kind]map[uint16]uint16
}

// Set puts values into consecutive cells, all at once: no answer has some of
// them old and some new. A coil or discrete input is on unless it is 0.
func (b *Bank) Set(k Kind, address uint16, values ...uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cells == nil {
		b.cells = map[Kind]map[uint16]uint16{}
	}
	if b.cells[k] == nil {
		b.cells[k] = map[uint16]uint16{}
	}
	for i, v := range values {
		b.cells[k][address+uint16(i)] = v
	}
}

// get returns consecutive cells, or false if one of them does not exist.
func (b *Bank) get(k Kind, address, quantity uint16) ([]uint16, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	values := make([]uint16, quantity)
	for i := range values {
		at := int(address) + i
		v, ok := b.cells[k][uint16(at)]
		if !ok || at > 65535 {
			return nil, false
		}
		values[i] = v
	}
	return values, true
}
