package broker

import (
	"io"
	"net"
	"testing"
)

// Two writes in a row reach the other end as one read; a large one is not held
// back; and nothing is lost when the connection closes at once.
func TestCorkedConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	c := cork(out)
	write := func(s string) {
		t.Helper()
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	write("puback ")
	write("ack")
	got := make([]byte, 10)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "puback ack" {
		t.Fatalf("read %q, %v", got, err)
	}
	large := make([]byte, 100_000)
	write(string(large))
	if _, err := io.ReadFull(in, large); err != nil {
		t.Fatal(err)
	}
	write("bye")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(in); err != nil || string(rest) != "bye" {
		t.Fatalf("after the close: %q, %v", rest, err)
	}
	if _, err := c.Write([]byte("late")); err != nil {
		return
	}
	if _, err := c.Write(large); err == nil {
		t.Fatal("a write after the close succeeds")
	}
}
