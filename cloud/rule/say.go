package rule

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/cloud/contract"
)

// say publishes the alerts that are on disk and not yet acknowledged, in
// order, until ctx is done.
func (s *Service) say(ctx context.Context) {
	failing := false
	clean := time.NewTicker(time.Minute)
	defer clean.Stop()
	for {
		more, err := s.sayNext(ctx)
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != failing {
			if failing = err != nil; failing {
				s.cfg.Log.Error("alerts cannot be published; they are kept and tried again", "err", err)
			} else {
				s.cfg.Log.Info("alerts are published again")
			}
		}
		if more && err == nil {
			continue
		}
		var retry <-chan time.Time
		if err != nil {
			retry = time.After(time.Second)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-retry:
		case <-clean.C:
			if err := s.store.retire(); err != nil {
				s.cfg.Log.Warn("old alerts cannot be removed; it is tried again", "err", err)
			}
		}
	}
}

// sayNext publishes some alerts and forgets those that were acknowledged. It
// reports whether there were any.
func (s *Service) sayNext(ctx context.Context) (bool, error) {
	list, err := s.store.unsaid(ctx)
	if err != nil || len(list) == 0 {
		return false, err
	}
	var through int64
	for _, u := range list {
		msg := nats.NewMsg(contract.AlertSubject(u.site))
		msg.Data = u.body
		msg.Header.Set(jetstream.MsgIDHeader, u.msgID)
		if _, err = s.js.PublishMsg(ctx, msg); err != nil {
			break
		}
		s.metrics.said.Inc()
		through = u.n
	}
	if through > 0 {
		if forget := s.store.said(through); forget != nil {
			return true, forget
		}
	}
	return true, err
}
