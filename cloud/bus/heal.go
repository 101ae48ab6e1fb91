package bus

import (
	"fmt"
	"strings"
	"time"
)

// healEvery is how often a stream that cannot write is opened again.
const healEvery = 3 * time.Second

// isStuck reports whether the embedded server says that a stream takes nothing
// any more: after one failed write, such as on a full disk, a stream stays so
// until it is opened again, although the disk may long have room.
func isStuck(text string) bool {
	return strings.Contains(text, "ritical write error") || strings.Contains(text, "failed to store a msg") || strings.Contains(text, "will be DISABLED")
}

// heal opens JetStream again when it is stuck, until the bus is closed. What
// was acknowledged is on disk; who publishes or reads meanwhile gets an error,
// and tries again.
func (b *Bus) heal() {
	defer close(b.ended)
	for {
		select {
		case <-b.end:
			return
		case <-b.stuck:
		}
		select {
		case <-b.end:
			return
		case <-time.After(healEvery): // room comes when somebody or retention makes it
		}
		select {
		case <-b.stuck: // told before: this attempt is for that too
		default:
		}
		if err := b.reopen(); err != nil {
			b.cfg.Log.Error("the streams cannot be opened again; trying again", "dir", b.cfg.Dir, "err", err)
			select {
			case b.stuck <- struct{}{}:
			default:
			}
			continue
		}
		b.cfg.Log.Warn("the streams were opened again after a write had failed", "dir", b.cfg.Dir)
	}
}

// reopen closes JetStream and recovers it from its folder.
func (b *Bus) reopen() error {
	cfg := b.server.JetStreamConfig()
	if cfg == nil {
		cfg = b.js0
	}
	b.js0 = cfg
	if err := b.server.ShutdownJetStream(); err != nil {
		return fmt.Errorf("bus: close the streams: %w", err)
	}
	again := *cfg
	again.StoreDir = b.cfg.Dir
	if err := b.server.EnableJetStream(&again); err != nil {
		return fmt.Errorf("bus: open the streams: %w", err)
	}
	return nil
}
