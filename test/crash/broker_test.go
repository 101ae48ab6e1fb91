package crash

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"tidemark/protocol"
)

// startMosquitto runs Debian's broker and returns its address.
func startMosquitto(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // where Debian has it, which is not on every user's path
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("mosquitto is missing: run make setup, or apt-get install mosquitto")
	}
	addr := freePort(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nset_tcp_nodelay true\n", port)
	if os.Geteuid() == 0 {
		conf = "user root\n" + conf
	}
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, path, "-c", file)
	until(t, 20*time.Second, "mosquitto listens", func() bool { p.mustRun(); return dials(addr) })
	return addr
}

// client is a plain MQTT client.
type client struct {
	*paho.Client
	mu  sync.Mutex
	got []*paho.Publish
}

func dialBroker(t *testing.T, addr, id, filter string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{}
	c.Client = paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got = append(c.got, p.Packet)
			return true, nil
		}}})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := c.Connect(ctx, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 60}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	return c
}

func (c *client) received() []*paho.Publish {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*paho.Publish(nil), c.got...)
}

// again publishes a bundle as it was captured.
func (c *client) again(t *testing.T, p *paho.Publish) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := c.Publish(ctx, &paho.Publish{Topic: p.Topic, QoS: 1, Payload: p.Payload, Properties: &paho.PublishProperties{User: p.Properties.User}}); err != nil {
		t.Fatal(err)
	}
}

// seqsOf counts the messages that a bundle stands for.
func seqsOf(t *testing.T, payload []byte) (n uint64) {
	t.Helper()
	msgs, err := protocol.DecodeBundle(payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		if m.Type != protocol.TypeSchema {
			seqs := m.Seqs()
			n += seqs.Count()
		}
	}
	return n
}
