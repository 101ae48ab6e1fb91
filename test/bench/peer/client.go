//go:build linux

package peer

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

const topic = "device/site-0042/gateway-1/up"

// connect opens one MQTT 5 session at addr; received gets each message's payload, in order.
func connect(ctx context.Context, addr, id string, received func([]byte)) (*paho.Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return nil, fmt.Errorf("peer: %s: %w", id, err)
	}
	config := paho.ClientConfig{ClientID: id, Conn: conn, PacketTimeout: time.Minute}
	if received != nil {
		config.OnPublishReceived = []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			received(p.Packet.Payload)
			return true, nil
		}}
	}
	c := paho.NewClient(config)
	if _, err := c.Connect(ctx, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 60}); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("peer: %s: connect to %s: %w", id, addr, err)
	}
	return c, nil
}

// publish hands every payload to the edge broker and returns when it has acknowledged the last: it acknowledges in order.
func publish(ctx context.Context, c *paho.Client, payloads [][]byte) error {
	for i, payload := range payloads {
		o := paho.PublishOptions{Method: paho.PublishMethod_AsyncSend}
		if i == len(payloads)-1 {
			o.Method = paho.PublishMethod_Blocking
		}
		if _, err := c.PublishWithOptions(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: payload}, o); err != nil {
			return fmt.Errorf("peer: publish message %d of %d: %w", i+1, len(payloads), err)
		}
	}
	return nil
}

// inbox keeps what arrives behind the hub. Nothing is decoded while a run is measured.
type inbox struct {
	mu       sync.Mutex
	payloads [][]byte
	times    []time.Time
	changed  chan struct{} // closed and replaced with each arrival that someone waits for
	want     int           // arrivals that the waiter wants
}

func newInbox() *inbox { return &inbox{changed: make(chan struct{})} }

func (in *inbox) receive(payload []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.payloads = append(in.payloads, payload)
	in.times = append(in.times, time.Now())
	if len(in.payloads) == in.want {
		close(in.changed)
	}
}

// count returns the number of messages so far.
func (in *inbox) count() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.payloads)
}

// arrival returns the time at which message number i (from 0) arrived.
func (in *inbox) arrival(i int) time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.times[i]
}

// wait returns once n messages are there. What is lost never comes, so after patience without that it returns false.
func (in *inbox) wait(ctx context.Context, n int, patience time.Duration) bool {
	in.mu.Lock()
	if len(in.payloads) >= n {
		in.mu.Unlock()
		return true
	}
	in.want, in.changed = n, make(chan struct{})
	changed := in.changed
	in.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

// tally decodes and counts everything that arrived.
func (in *inbox) tally() (*tally, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	t := newTally()
	for _, payload := range in.payloads {
		if err := t.add(payload); err != nil {
			return nil, err
		}
	}
	return t, nil
}
