package broker

import (
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// A connection that the broker has forgotten, as its teardown of an earlier one
// can do, ends with its next publish: it would hear no ack.
func TestForgottenConnectionEnds(t *testing.T) {
	b := newLab(t, 0)
	c := b.dial(gw.String())
	if code := c.publish(gw.UpTopic(), []byte("known")); code != 0 {
		t.Fatalf("reason code %#x", code)
	}
	b.edge.server.Clients.Delete(gw.String())
	go func() {
		_, _ = c.Publish(t.Context(), &paho.Publish{Topic: gw.UpTopic(), QoS: 1, Payload: []byte("forgotten")})
	}() // its answer may not arrive
	select {
	case <-c.end:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection goes on")
	}
	if n, _ := b.heard.count(); n != 1 {
		t.Errorf("%d bundles arrived", n)
	}
}
