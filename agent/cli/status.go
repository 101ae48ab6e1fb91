package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tidemark/agent/control"
	"tidemark/protocol"
)

func (c *commands) statusCommand() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "status", Short: "Say how the running agent is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.load(cmd); err != nil {
				return err
			}
			var s control.Status
			raw, err := c.ask(cmd.Context(), "/status", &s)
			if err != nil {
				return err
			}
			if c.json {
				_, err = c.out.Write(raw)
				return orFailed(err)
			}
			printStatus(c.out, &s, paintFor(c.out))
			return nil
		},
	})
}

func printStatus(w io.Writer, s *control.Status, p paint) {
	fmt.Fprintf(w, "gateway  %s/%s; agent %s, up for %s\n", s.Site, s.Gateway, s.Version, millis(s.UptimeMs))
	fmt.Fprintf(w, "profile  %s, version %s\n", s.File, s.Profile)
	fmt.Fprintln(w, "link     "+linkLine(&s.Link, p))
	fmt.Fprintln(w, "outbox   "+depthLine(&s.Outbox, p))
	fmt.Fprintln(w, "clock    "+clockLine(&s.Clock))
	if s.FlashBytesPerDay > 0 {
		fmt.Fprintf(w, "flash    %s written a day at the present rate\n", size(s.FlashBytesPerDay))
	}
	fmt.Fprintln(w)
	buses := table{paint: p, head: []string{"bus", "driver", ">points", ">fresh", ">good", ">bad", "newest fault", ">late at most"}}
	for _, b := range s.Buses {
		buses.add(b.Bus, b.Driver, count(b.Points), count(b.Fresh), count(b.Good), count(b.Bad), orNone(b.Reason), millis(b.LateMaxMs))
	}
	buses.print(w)
	fmt.Fprintln(w, p.faint("good, bad, fault and lateness since the last heartbeat"))
	if len(s.Hops) == 0 {
		return
	}
	fmt.Fprintln(w)
	hops := table{paint: p, head: []string{"hop", ">count", ">mean", ">longest"}}
	for _, stage := range slices.SortedFunc(maps.Keys(s.Hops), byPath) {
		h := s.Hops[stage]
		hops.add(stage, count(h.Count), micros(h.MeanUs), micros(h.MaxUs))
	}
	hops.print(w)
}

// byPath orders stages as messages pass them.
func byPath(a, b string) int {
	order := []string{string(protocol.Sampled), string(protocol.Queued), string(protocol.Sent), string(protocol.Received)}
	return slices.Index(order, a) - slices.Index(order, b)
}

func linkLine(l *control.Link, p paint) string {
	since := millis(l.SinceMs)
	if !l.Online {
		why := "not connected yet"
		if l.Rung != "" {
			why = l.Rung + " fails: " + l.RungText
		}
		return fmt.Sprintf("%s for %s to %s; %s", p.bad("down"), since, l.Broker, why)
	}
	line := fmt.Sprintf("%s for %s to %s; %s and %s sent, acks take %s", p.good("up"), since, l.Broker,
		many(l.Published, "bundle", "bundles"), size(l.BytesOut), millis(l.AckMs))
	if l.DrainEtaMs > 0 {
		line += "; backlog gone in " + millis(l.DrainEtaMs)
	}
	return line
}

func depthLine(d *control.Depth, p paint) string {
	oldest := none
	if d.Depth > 0 {
		oldest = millis(d.OldestMs)
	}
	line := fmt.Sprintf("%s waiting; oldest %s; %s of %s used; next seq %d", count(d.Depth), oldest, size(d.Bytes), size(d.BudgetBytes), d.NextSeq)
	if d.Dropped > 0 {
		line += "; " + p.bad(many(d.Dropped, "message", "messages")+" lost")
	}
	if d.Quarantined > 0 {
		line += "; " + p.bad(many(d.Quarantined, "damaged file", "damaged files")+" put aside")
	}
	return line
}

func clockLine(c *control.Clock) string {
	words := map[string]string{
		protocol.ClockSynced.String():  "kept right by a time service",
		protocol.ClockSet.String():     "set, but no time service says that it is right",
		protocol.ClockUnknown.String(): "not set since the boot",
	}
	line := words[c.Quality]
	if line == "" {
		line = c.Quality
	}
	switch off := time.Duration(c.CloudOffsetMs) * time.Millisecond; {
	case off >= time.Second:
		line += "; " + duration(off) + " behind the cloud's"
	case off <= -time.Second:
		line += "; " + duration(-off) + " ahead of the cloud's"
	}
	return line
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

// orFailed gives an error of writing the answer its exit code.
func orFailed(err error) error {
	if err == nil {
		return nil
	}
	return failed(exitFailed, err)
}
