package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"tidemark/protocol"
)

// Every topic of the system, of the gateway itself and of others, with and without wildcards, to publish and to subscribe.
func TestAccess(t *testing.T) {
	b := newLab(t, 0)
	c := b.dial(gw.String())
	own := map[string]string{gw.UpTopic(): "publish", gw.PresenceTopic(): "publish",
		gw.AckTopic(): "subscribe", gw.CommandTopic(): "subscribe", gw.DesiredTopic(): "subscribe"}
	topics := slices.Collect(maps.Keys(own))
	for _, g := range []string{"plant/gw-1", "plant/gw-2", "other/gw-1", "plant/gw-11", "plant/gw"} {
		for _, root := range []string{"device", "service_platform", "data_platform", "Device"} {
			for _, leaf := range []string{"up", "presence", "ack", "command", "desired", "up/secret", "UP"} {
				topics = append(topics, root+"/"+g+"/"+leaf)
			}
		}
	}
	topics = append(topics, "device", "up", "a/b", "device//gw-1/up", "device/plant//up")
	taken := 0
	for _, topic := range topics {
		allowed := own[topic] == "publish"
		if code := c.publish(topic, []byte("x")); (code == 0) != allowed {
			t.Errorf("publish on %s: reason code %#x, allowed %v", topic, code, allowed)
		}
		if allowed {
			taken++
		}
		if code := c.subscribe(topic); (code < 0x80) != (own[topic] == "subscribe") {
			t.Errorf("subscribe to %s: reason code %#x, allowed %v", topic, code, own[topic] == "subscribe")
		}
	}
	if bundles, presences := b.heard.count(); bundles+presences != taken {
		t.Errorf("%d bundles and %d presences arrived, %d were allowed", bundles, presences, taken)
	}
	for _, filter := range []string{"#", "+/+/+/+", "device/#", "device/plant/gw-1/+", "service_platform/plant/gw-1/#", "service_platform/plant/+/ack",
		"service_platform/+/gw-1/ack", "$share/x/device/+/+/up", "$share/x/service_platform/plant/gw-1/ack", "$SYS/#"} {
		conn := b.dial("plant/gw-7") // a filter that is a fault of protocol may end the connection
		r, err := conn.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
		if err == nil || r != nil && r.Reasons[0] < 0x80 {
			t.Errorf("subscribe to %s: it was granted", filter)
		}
	}
	b.works(c)
}

// What one gateway is told no other hears, and what gateways publish is forwarded to nobody.
func TestGatewaysHearOnlyTheirs(t *testing.T) {
	b := newLab(t, 0)
	one, two := b.dial("plant/gw-1"), b.dial("plant/gw-2")
	one.subscribe("service_platform/plant/gw-1/ack")
	two.subscribe("service_platform/plant/gw-2/ack")
	two.subscribe("service_platform/plant/gw-1/ack")
	for n := range 3 {
		for i, g := range []protocol.Gateway{{Site: "plant", Name: "gw-1"}, {Site: "plant", Name: "gw-2"}} {
			if err := b.edge.Send(t.Context(), g.AckTopic(), fmt.Appendf(nil, "%d-%d", i+1, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, c := range []*client{one, two} {
		for n := range 3 {
			select {
			case p := <-c.got:
				if want := fmt.Sprintf("%d-%d", i+1, n); string(p.Payload) != want {
					t.Errorf("gateway %d heard %q, want %q", i+1, p.Payload, want)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("gateway %d heard nothing", i+1)
			}
		}
		if len(c.got) != 0 {
			t.Errorf("gateway %d heard %d messages more", i+1, len(c.got))
		}
	}
}

func TestClientIDs(t *testing.T) {
	b := newLab(t, 0)
	for _, id := range []string{"", "plant", "plant/", "/gw-1", "plant/gw-1/x", "Plant/gw-1", "plant/gw 1", "plant/+", "#", "plant.gw-1", "inline", "plant/gw-1\x00"} {
		if _, ack, err := b.try(id, nil); err == nil || ack != nil && ack.ReasonCode < 0x80 {
			t.Errorf("client id %q was admitted", id)
		}
	}
	b.works(b.dial(gw.String()))
}

func TestWills(t *testing.T) {
	b := newLab(t, 0)
	for _, w := range []*paho.WillMessage{
		{Topic: "device/plant/gw-2/presence", Payload: []byte("w")},
		{Topic: "device/plant/gw-1/up", Payload: []byte("w")},
		{Topic: "service_platform/plant/gw-2/ack", Payload: []byte("w")},
		{Topic: "device/plant/gw-1/presence/x", Payload: []byte("w")},
		{Topic: "device/plant/gw-1/presence", Payload: bytes.Repeat([]byte("w"), maxPresence+1)},
	} {
		if _, _, err := b.try(gw.String(), w); err == nil {
			t.Errorf("a will of %d bytes on %s was admitted", len(w.Payload), w.Topic)
		}
	}
	if bundles, presences := b.heard.count(); bundles+presences != 0 {
		t.Errorf("%d bundles and %d presences from wills that were refused", bundles, presences)
	}
	c, _, err := b.try(gw.String(), &paho.WillMessage{Topic: gw.PresenceTopic(), Payload: []byte("gone"), QoS: 1, Retain: true})
	if err != nil {
		t.Fatal(err)
	}
	c.conn.Close() // without DISCONNECT
	waitFor(t, "the will arrives", func() bool { return b.heard.has("plant/gw-1 gone") })
}

// The answer to a bundle is the handler's.
func TestReasonCodes(t *testing.T) {
	b := newLab(t, 0)
	b.heard.answers(func(p []byte) error {
		switch string(p) {
		case "never":
			return fmt.Errorf("no: %w", ErrRefused)
		case "later":
			return errors.New("not now")
		}
		return nil
	})
	c := b.dial(gw.String())
	for payload, want := range map[string]byte{"fine": 0, "never": 0x99, "later": 0x89} {
		if code := c.publish(gw.UpTopic(), []byte(payload)); code != want {
			t.Errorf("%s: reason code %#x, want %#x", payload, code, want)
		}
	}
}

func TestOversizedPacket(t *testing.T) {
	b := newLab(t, 0)
	good := b.dial("plant/gw-2")
	conn := b.raw(gw.String())
	p := packets.NewControlPacket(packets.PUBLISH)
	pub := p.Content.(*packets.Publish)
	pub.Topic, pub.Payload = gw.UpTopic(), make([]byte, maxPacket+1)
	_, _ = p.WriteTo(conn) // the broker may close before all of it is written
	b.ends("an oversized packet", conn)

	conn = b.raw(gw.String()) // and one that only claims to be: 256 MiB
	if _, err := conn.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}); err != nil {
		t.Fatal(err)
	}
	b.ends("a packet that claims 256 MiB", conn)
	if bundles, _ := b.heard.count(); bundles != 0 {
		t.Errorf("%d bundles arrived", bundles)
	}
	largest := make([]byte, protocol.MaxPayload)
	if code := good.publish("device/plant/gw-2/up", largest); code != 0 {
		t.Errorf("the largest bundle: reason code %#x", code)
	}
}

// A topic alias would pass the check of the topic: the broker allows none (MQTT 5 section 3.3.2.3.4).
func TestTopicAlias(t *testing.T) {
	b := newLab(t, 0)
	conn := b.raw(gw.String())
	for _, topic := range []string{gw.UpTopic(), ""} {
		p := packets.NewControlPacket(packets.PUBLISH)
		pub := p.Content.(*packets.Publish)
		alias := uint16(1)
		pub.Topic, pub.Payload, pub.Properties = topic, []byte("x"), &packets.Properties{TopicAlias: &alias}
		if _, err := p.WriteTo(conn); err != nil {
			break // refused already
		}
	}
	b.ends("a topic alias", conn)
	b.works(b.dial("plant/gw-2"))
}

// Packets that no library sends end their own connection, at the most.
func TestMalformedPackets(t *testing.T) {
	b := newLab(t, 0)
	good := b.dial("plant/gw-2")
	for name, p := range map[string][]byte{
		"SUBSCRIBE of 7 bytes, whose filter is longer":    {0x82, 0x05, 0x00, 0x01, 0x00, 0x00, 0x40},
		"SUBSCRIBE of 7 bytes, without a filter":          {0x82, 0x05, 0x00, 0x01, 0x02, 0x0b, 0x00},
		"SUBSCRIBE of 7 bytes, without options":           {0x82, 0x05, 0x00, 0x01, 0x00, 0x00, 0x00},
		"SUBSCRIBE without anything":                      {0x82, 0x00},
		"UNSUBSCRIBE cut short":                           {0xa2, 0x03, 0x00, 0x01, 0x00},
		"PUBLISH without a topic":                         {0x30, 0x01, 0x00},
		"PUBLISH whose topic is longer than the packet":   {0x32, 0x04, 0xff, 0xff, 0x61, 0x00},
		"PUBLISH with QoS 3":                              {0x36, 0x07, 0x00, 0x01, 0x61, 0x00, 0x01, 0x00, 0x00},
		"PUBACK for nothing":                              {0x40, 0x02, 0x00, 0x63},
		"a second CONNECT":                                {0x10, 0x0d, 0x00, 0x04, 'M', 'Q', 'T', 'T', 0x05, 0x02, 0x00, 0x3c, 0x00, 0x00, 0x00},
		"a packet of type 0":                              {0x00, 0x00},
		"a remaining length of five bytes":                {0x30, 0x80, 0x80, 0x80, 0x80, 0x01},
		"AUTH":                                            {0xf0, 0x02, 0x18, 0x00},
		"properties that run over the end of SUBSCRIBE":   {0x82, 0x06, 0x00, 0x01, 0x7f, 0x26, 0x00, 0x01},
		"a PUBLISH with a property that must not be here": {0x30, 0x09, 0x00, 0x01, 0x61, 0x05, 0x11, 0x00, 0x00, 0x00, 0x01},
	} {
		conn := b.raw(gw.String())
		if _, err := conn.Write(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		conn.(*net.TCPConn).CloseWrite()
		b.ends(name, conn)
	}
	for range 3 { // and before any CONNECT
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte{0x82, 0x05, 0x00, 0x01, 0x00, 0x00, 0x40}); err != nil {
			t.Error(err)
		}
		b.ends("no CONNECT", conn)
		conn.Close()
	}
	b.works(good)
}

func TestPanicEndsOneConnection(t *testing.T) {
	b := newLab(t, 0)
	b.heard.answers(func(p []byte) error {
		if string(p) == "boom" {
			panic("on purpose")
		}
		return nil
	})
	good := b.dial("plant/gw-2")
	bad := b.dial(gw.String())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	published := make(chan error, 1)
	go func() {
		_, err := bad.Publish(ctx, &paho.Publish{Topic: gw.UpTopic(), QoS: 1, Payload: []byte("boom")})
		published <- err
	}()
	select {
	case <-bad.end:
	case <-time.After(10 * time.Second):
		t.Error("the connection stays open")
	}
	cancel()
	if err := <-published; err == nil {
		t.Error("a publish whose handling panicked was acknowledged")
	}
	b.works(good)
	b.works(b.dial(gw.String())) // the same gateway comes back
}

func TestConnectionLimit(t *testing.T) {
	const most = 3
	b := newLab(t, most)
	var held []*client
	for i := range most {
		held = append(held, b.dial(fmt.Sprintf("plant/gw-%d", i)))
	}
	if _, _, err := b.try("plant/gw-9", nil); err == nil {
		t.Error("a connection over the limit was admitted")
	}
	b.works(held[1])
	held[0].conn.Close()
	waitFor(t, "there is room again", func() bool {
		_, _, err := b.try("plant/gw-9", nil)
		return err == nil
	})
}

// A gateway that does not read its acks costs the broker a bounded amount of memory, and the others nothing.
func TestClientThatDoesNotRead(t *testing.T) {
	b := newLab(t, 0)
	conn := b.raw(gw.String())
	sub := packets.NewControlPacket(packets.SUBSCRIBE)
	s := sub.Content.(*packets.Subscribe)
	s.PacketID, s.Subscriptions = 1, []packets.SubOptions{{Topic: gw.AckTopic(), QoS: 0}}
	if _, err := sub.WriteTo(conn); err != nil {
		t.Fatal(err)
	}
	if ack, err := packets.ReadPacket(conn); err != nil || ack.Type != packets.SUBACK {
		t.Fatalf("SUBACK %v: %v", ack, err)
	}
	good := b.dial("plant/gw-2")
	good.subscribe("service_platform/plant/gw-2/ack")
	other := protocol.Gateway{Site: "plant", Name: "gw-2"}
	ack := make([]byte, 64<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range 2000 { // 128 MiB
		done := make(chan error, 1)
		go func() { done <- b.edge.Send(t.Context(), gw.AckTopic(), bytes.Clone(ack)) }()
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("sending to a gateway that does not read blocks")
		}
		if n%500 != 0 {
			continue
		}
		if err := b.edge.Send(t.Context(), other.AckTopic(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-good.got:
		case <-time.After(10 * time.Second):
			t.Fatal("another gateway hears nothing")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grew := int64(after.HeapAlloc) - int64(before.HeapAlloc); grew > 48<<20 {
		t.Errorf("the heap grew by %d MiB", grew>>20)
	}
	b.works(good)
}
