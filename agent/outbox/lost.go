package outbox

import (
	"fmt"
	"time"

	"tidemark/protocol"
)

// maxLostRanges bounds the ranges in one dropped message, so that it stays
// well under protocol.MaxMessage.
const maxLostRanges = 1024

// reportLost queues dropped messages that name seqs. Once they are committed
// the seqs count as lost: they are not read any more, and need no room. Until
// then they stay as they are, so a crash at any moment neither loses them in
// silence nor counts them twice.
func (o *Outbox) reportLost(seqs protocol.Set, cause, text string, fromMs, toMs int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ranges := seqs.Ranges()
	for len(ranges) > 0 {
		n := min(len(ranges), maxLostRanges)
		part := protocol.SetOf(ranges[:n]...)
		ranges = ranges[n:]
		d := protocol.Dropped{Ranges: part, Count: part.Count(), Cause: cause, Text: text, FromMs: fromMs, ToMs: toMs}
		m := o.boot
		m.Type, m.Time, m.Body = protocol.TypeDropped, time.Now().UnixMilli(), d.Encode()
		t, err := o.queue(&m, nil, true)
		if err != nil {
			panic(fmt.Sprintf("outbox: a dropped message that does not encode: %v", err)) // only numbers and short texts stand in it
		}
		t.then = func() { o.nowLost(&d) }
	}
}

// nowLost is what follows the commit of a dropped message. The caller holds mu.
func (o *Outbox) nowLost(d *protocol.Dropped) {
	n := d.Ranges.Minus(o.lost).Count()
	o.dropped += n
	if d.Cause == protocol.CauseThinned {
		o.thinned += n
		o.standIns.AddSet(d.By)
	}
	o.lost.AddSet(d.Ranges)
	o.reports = append(o.reports, *d)
	if len(o.reports) > maxReports {
		o.reports = append([]protocol.Dropped(nil), o.reports[len(o.reports)-maxReports:]...)
	}
	o.ackDirty = true
}
