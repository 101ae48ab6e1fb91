package e2e

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"tidemark/cloud/contract"
	"tidemark/protocol"
)

// intruder is an MQTT client with a gateway's name and no good will.
type intruder struct {
	t      *testing.T
	client *paho.Client
	g      protocol.Gateway
	acks   chan protocol.Ack
}

func intrude(t *testing.T, c *theCloud, site string) *intruder {
	t.Helper()
	conn, err := net.Dial("tcp", c.addr.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	i := &intruder{t: t, g: protocol.Gateway{Site: site, Name: "gw-1"}, acks: make(chan protocol.Ack, 100)}
	i.client = paho.NewClient(paho.ClientConfig{Conn: conn, ClientID: i.g.String(), PacketTimeout: 10 * time.Second,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			var a protocol.Ack
			if err := protocol.Unmarshal(p.Packet.Payload, &a); err == nil {
				i.acks <- a
			}
			return true, nil
		}}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := i.client.Connect(ctx, &paho.Connect{ClientID: i.g.String(), CleanStart: true, KeepAlive: 30}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.client.Disconnect(&paho.Disconnect{}) })
	if _, err := i.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: i.g.AckTopic(), QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	return i
}

// publish returns the reason code of the broker's answer, 0 for none.
func (i *intruder) publish(topic string, payload []byte) byte {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), patience)
	defer cancel()
	resp, err := i.client.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: payload})
	if resp == nil {
		i.t.Fatalf("publish to %s: %v", topic, err)
	}
	return resp.ReasonCode
}

func (i *intruder) bundle(msgs ...*protocol.Message) []byte {
	i.t.Helper()
	b, err := protocol.EncodeBundle(msgs)
	if err != nil {
		i.t.Fatal(err)
	}
	return b
}

func (i *intruder) rejected(c *theCloud, reason string) (rows []contract.MessageRow) {
	for _, m := range c.messages("response_code=rejected&site=" + i.g.Site) {
		if m.Reason == reason {
			rows = append(rows, m)
		}
	}
	return rows
}

func TestHostileInputIsRefusedAndDisturbsNobody(t *testing.T) {
	c := startCloud(t, nil)
	startAgent(t, "well", c.addr.MQTT, live)
	i := intrude(t, c, "evil")

	deep := append(bytes.Repeat([]byte{0x81}, 50_000), 0) // arrays in arrays
	huge := []byte{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	noise := make([]byte, 5000)
	for k := range noise {
		noise[k] = byte(rand.Uint32())
	}
	for name, payload := range map[string][]byte{"nothing": {}, "text": []byte("{\"temperature\": 21}"), "deep": deep, "huge": huge, "noise": noise,
		"a broken zstd frame": {0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff, 0xff}} {
		if code := i.publish(i.g.UpTopic(), payload); code != 0x99 {
			t.Errorf("%s: the PUBACK says 0x%02x, want 0x99, payload format invalid", name, code)
		}
	}
	eventually(t, "the bundles are dead letters", func() bool {
		return len(c.messages("response_code=rejected&site=evil")) >= 6
	})
	for _, m := range c.messages("response_code=rejected&site=evil") {
		if m.Reason == "" || m.Text == "" || m.Gateway != "gw-1" {
			t.Errorf("a dead letter says %+v", m)
		}
	}
	before := c.readings("well")
	eventually(t, "the other site goes on", func() bool { return c.readings("well") > before+5 && c.gateway("well").Online })
}

func TestMessagesThatDoNotFitAreRejectedOneByOne(t *testing.T) {
	c := startCloud(t, nil)
	i := intrude(t, c, "plant")
	now := time.Now().UnixMilli()
	event := protocol.Event{Code: "test", Text: "in order"}
	hb := protocol.Heartbeat{Agent: "test", Gateway: "other-site/gw-1"}
	message := func(seq uint64, typ protocol.Type, body []byte) *protocol.Message {
		return &protocol.Message{Type: typ, Epoch: 7, Seq: seq, Time: now, Boot: 1, Body: body}
	}
	code := i.publish(i.g.UpTopic(), i.bundle(
		message(1, protocol.TypeEvent, event.Encode()),
		message(2, protocol.TypeHeartbeat, hb.Encode()),           // names another gateway
		message(3, protocol.TypeOutage, []byte{0xa1, 0x01, 0x01}), // lacks its steps, or not: it is the smallest outage
		message(4, protocol.TypeClock, []byte{0x80}),              // an array for a map
		message(5, protocol.TypeEvent, event.Encode()),
	))
	if code != 0 {
		t.Fatalf("the PUBACK says 0x%02x", code)
	}
	reasons := map[uint64]string{}
	eventually(t, "the ack covers all", func() bool {
		for {
			select {
			case a := <-i.acks:
				for _, r := range a.Rejected {
					reasons[r.First] = r.Reason
				}
				if a.Epoch == 7 && a.Committed.ContainsAll(1, 5) {
					return true
				}
			default:
				return false
			}
		}
	})
	if reasons[2] != protocol.ReasonWrongGateway || reasons[4] == "" || reasons[1] != "" || reasons[5] != "" {
		t.Errorf("the gateway is told %v", reasons)
	}
	eventually(t, "the API shows the rejected ones", func() bool {
		return len(i.rejected(c, protocol.ReasonWrongGateway)) == 1
	})
	eventually(t, "and the good ones", func() bool { return len(c.messages("site=plant&type=event&response_code=ok")) == 2 })
	if g := c.gateway("other-site"); g.Site != "" {
		t.Errorf("another site came to be: %+v", g)
	}
	eventually(t, "the account balances", func() bool {
		a := c.gateway("plant").Account
		return a.Dead >= 2 && a.Out+a.Dead >= 5
	})
}

func TestTopicsOfOthersAreRefused(t *testing.T) {
	c := startCloud(t, nil)
	i := intrude(t, c, "plant")
	for _, topic := range []string{"device/other/gw-1/up", "device/plant/gw-2/up", "device/plant/gw-1/nonsense", "service_platform/plant/gw-1/ack", "x"} {
		if code := i.publish(topic, []byte("x")); code != 0x87 {
			t.Errorf("%s: the PUBACK says 0x%02x, want 0x87, not authorized", topic, code)
		}
	}
	for _, filter := range []string{"service_platform/other/gw-1/ack", "service_platform/+/+/ack", "#", "device/plant/gw-1/up"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		ack, err := i.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
		cancel()
		if err == nil || ack == nil || ack.Reasons[0] < 0x80 {
			t.Errorf("a subscription to %s is granted: %+v", filter, ack)
		}
	}
}

func TestOversizedPacketEndsOnlyItsConnection(t *testing.T) {
	c := startCloud(t, nil)
	startAgent(t, "well", c.addr.MQTT, live)
	eventually(t, "readings arrive", func() bool { return c.readings("well") > 3 })
	conn, err := net.Dial("tcp", c.addr.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// CONNECT for evil/gw-1, then a PUBLISH that says it has 256 MB (MQTT 5 sections 3.1 and 3.3).
	connect := append([]byte{0x10, 0x16, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 30, 0, 0, 9}, "evil/gw-1"...)
	if _, err := conn.Write(append(connect, 0x32, 0xff, 0xff, 0xff, 0x7f)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 64<<10)
	ended := false
	for range 512 { // 32 MB
		if _, err := conn.Write(zeros); err != nil {
			ended = true
			break
		}
	}
	if !ended {
		t.Error("the broker takes a packet of 32 MB and more")
	}
	before := c.readings("well")
	eventually(t, "the other site goes on", func() bool { return c.readings("well") > before+5 && c.gateway("well").Online })
}
