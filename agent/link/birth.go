package link

import (
	"context"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"tidemark/protocol"
)

// newSession numbers the next connection and gives it its last will.
func (l *Link) newSession(c *paho.Connect) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session++
	will := l.cfg.Presence // whoever reads only the last presence knows which agent it was
	will.Session, will.Epoch = l.session, l.store.Epoch()
	c.WillMessage = &paho.WillMessage{Topic: l.cfg.Gateway.PresenceTopic(), Payload: will.Encode(), QoS: 1, Retain: true}
	c.WillProperties = &paho.WillProperties{}
}

// introduce subscribes to acks on a new connection and announces the birth,
// which the receiver answers with the tidemark; sending begins when that has
// arrived. It announces again while no answer comes: a receiver behind an
// external broker may come up later than the broker. In the end it gives the
// connection up for another one: a broker may have lost what it knew of this one.
func (l *Link) introduce(ctx context.Context) {
	l.mu.Lock()
	cm, session, born := l.conn, l.session, l.bornAt
	due := cm != nil && l.client == nil && time.Since(born) > firstAckWait
	if due {
		l.bornAt = time.Now()
		l.births++
	}
	if due && l.births > maxBirths {
		l.conn, l.dropped = nil, true
		l.socket.Close() // autopaho connects again
		due = false
	}
	l.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, firstAckWait)
	defer cancel()
	var err error
	if born.IsZero() {
		_, err = cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: l.cfg.Gateway.AckTopic(), QoS: 1}}})
	} else {
		l.cfg.Observer.LinkDown(protocol.RungAck, "the broker is reached, but no receiver answers behind it")
	}
	if err == nil {
		p := l.cfg.Presence
		p.Online, p.Session, p.Epoch, p.Time = true, session, l.store.Epoch(), time.Now().UnixMilli()
		_, err = cm.Publish(ctx, &paho.Publish{Topic: l.cfg.Gateway.PresenceTopic(), Payload: p.Encode(), QoS: 1, Retain: true})
	}
	if err != nil && ctx.Err() == nil {
		if l.untold(&l.barred) {
			l.cfg.Log.Warn("the broker refuses the gateway's topics; does it know this gateway?", "err", err)
		}
		l.cfg.Observer.LinkDown(protocol.RungConnack, "the broker refuses the gateway's topics: "+err.Error())
	}
}

func (l *Link) goodbye(ctx context.Context, cm *autopaho.ConnectionManager) {
	l.mu.Lock()
	online := l.client != nil
	p := l.cfg.Presence
	p.Session, p.Epoch, p.Graceful = l.session, l.store.Epoch(), true
	l.mu.Unlock()
	if !online {
		return
	}
	if _, err := cm.Publish(ctx, &paho.Publish{Topic: l.cfg.Gateway.PresenceTopic(), Payload: p.Encode(), QoS: 1, Retain: true}); err != nil {
		l.cfg.Log.Debug("goodbye was not heard", "err", err)
	}
}
