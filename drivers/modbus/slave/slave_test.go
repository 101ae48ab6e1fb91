package slave

import (
	"bytes"
	"encoding/hex"
	"io"
	"testing"

	"github.com/aldas/go-modbus-client/packet"
)

// line gives a slave what it is to hear, a few bytes at a time, and keeps what it says.
type line struct {
	heard *bytes.Reader
	chunk int
	said  bytes.Buffer
}

func (l *line) Read(p []byte) (int, error) {
	return l.heard.Read(p[:min(l.chunk, len(p))])
}
func (l *line) Write(p []byte) (int, error) { return l.said.Write(p) }

func sealed(b ...byte) []byte {
	crc := packet.CRC16(b)
	return append(b, byte(crc), byte(crc>>8))
}

func TestServe(t *testing.T) {
	var bank Bank
	bank.Set(Holding, 0x6b, 0x022b, 0x0000, 0x0064)
	bank.Set(Coil, 19, 1, 0, 1, 1)
	request := sealed(0x11, 3, 0, 0x6b, 0, 3)
	broken := append([]byte(nil), request...)
	broken[7] ^= 1
	for name, c := range map[string]struct{ heard, want []byte }{
		// The examples of MODBUS Application Protocol V1.1b3, 6.3, with unit 17.
		"holding":        {request, sealed(0x11, 3, 6, 0x02, 0x2b, 0, 0, 0, 0x64)},
		"coils":          {sealed(0x11, 1, 0, 19, 0, 4), sealed(0x11, 1, 1, 0x0d)},
		"absent":         {sealed(0x11, 3, 0, 0x6b, 0, 4), sealed(0x11, 0x83, 2)},
		"past the end":   {sealed(0x11, 3, 0xff, 0xff, 0, 2), sealed(0x11, 0x83, 2)},
		"too many":       {sealed(0x11, 3, 0, 0, 0, 126), sealed(0x11, 0x83, 3)},
		"write":          {sealed(0x11, 6, 0, 1, 0, 3), sealed(0x11, 0x86, 1)},
		"write several":  {sealed(0x11, 16, 0, 1, 0, 1, 2, 0, 10), sealed(0x11, 0x90, 1)},
		"other unit":     {sealed(0x12, 3, 0, 0x6b, 0, 3), nil},
		"damaged":        {broken, nil},
		"after noise":    {append([]byte{0, 0xff}, request...), sealed(0x11, 3, 6, 0x02, 0x2b, 0, 0, 0, 0x64)},
		"after a stump":  {append(append([]byte(nil), request[:5]...), request...), sealed(0x11, 3, 6, 0x02, 0x2b, 0, 0, 0, 0x64)},
		"after damage":   {append(broken, sealed(0x11, 1, 0, 19, 0, 4)...), sealed(0x11, 1, 1, 0x0d)},
		"several at one": {append(sealed(0x11, 1, 0, 19, 0, 4), sealed(0x11, 1, 0, 19, 0, 4)...), append(sealed(0x11, 1, 1, 0x0d), sealed(0x11, 1, 1, 0x0d)...)},
	} {
		for _, chunk := range []int{1, 3, 512} {
			s := Slave{Unit: 0x11, Bank: &bank}
			l := line{heard: bytes.NewReader(c.heard), chunk: chunk}
			if err := s.Serve(&l); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !bytes.Equal(l.said.Bytes(), c.want) {
				t.Errorf("%s, %d bytes at a time: said %s, want %s", name, chunk, hex.EncodeToString(l.said.Bytes()), hex.EncodeToString(c.want))
			}
		}
	}
}

func TestRefuse(t *testing.T) {
	s := Slave{Unit: 1, Bank: &Bank{}}
	s.Bank.Set(Input, 0, 5)
	for _, c := range []struct {
		code uint8
		want []byte
	}{{4, sealed(1, 0x84, 4)}, {0, sealed(1, 4, 2, 0, 5)}} {
		s.Refuse(c.code)
		l := line{heard: bytes.NewReader(sealed(1, 4, 0, 0, 0, 1)), chunk: 512}
		if err := s.Serve(&l); err != nil || !bytes.Equal(l.said.Bytes(), c.want) {
			t.Errorf("refusing with %d: said %x, %v", c.code, l.said.Bytes(), err)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, io.ErrUnexpectedEOF }
func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestServeSaysWhatFailed(t *testing.T) {
	if err := (&Slave{Bank: &Bank{}}).Serve(broken{}); err == nil {
		t.Error("a broken line was no error")
	}
}

// Whatever is on the line, the slave gets to its end, and says nothing that it
// was not asked for by a sound frame.
func FuzzServe(f *testing.F) {
	f.Add(sealed(1, 3, 0, 0, 0, 1), uint8(3))
	f.Add(append([]byte{1, 16, 0, 0, 0, 1, 247}, sealed(1, 4, 0, 0, 0, 1)...), uint8(1))
	f.Fuzz(func(t *testing.T, heard []byte, chunk uint8) {
		s := Slave{Unit: 1, Bank: &Bank{}}
		s.Bank.Set(Holding, 0, 1)
		l := line{heard: bytes.NewReader(heard), chunk: int(chunk) + 1}
		if err := s.Serve(&l); err != nil {
			t.Fatal(err)
		}
		if l.said.Len() > len(heard) {
			t.Fatalf("it said %d bytes for %d", l.said.Len(), len(heard))
		}
	})
}
