package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tidemark/agent/control"
)

func (c *commands) outboxCommand() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "outbox", Short: "Show what the running agent's outbox holds, and what it lost", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.load(cmd); err != nil {
				return err
			}
			var o control.Outbox
			raw, err := c.ask(cmd.Context(), "/outbox", &o)
			if err != nil {
				return err
			}
			if c.json {
				_, err = c.out.Write(raw)
				return orFailed(err)
			}
			printOutbox(c.out, &o, paintFor(c.out))
			return nil
		},
	})
}

func printOutbox(w io.Writer, o *control.Outbox, p paint) {
	fmt.Fprintln(w, "epoch      "+o.Epoch)
	fmt.Fprintln(w, "depth      "+depthLine(&o.Depth, p))
	fmt.Fprintln(w, "committed  "+orNone(o.Committed)+p.faint("  (seqs that the cloud has)"))
	fmt.Fprintln(w)
	if len(o.Segments) == 0 {
		fmt.Fprintln(w, "no segments: nothing has been queued yet")
	} else {
		segments := table{paint: p, head: []string{"segment", ">first", ">last", ">waiting", ">acked", ">size", "state"}}
		for _, s := range o.Segments {
			state, last := "ok", fmt.Sprint(s.Last)
			if s.Quarantined {
				state = "damaged"
			}
			if s.Last < s.First {
				last = none
			}
			segments.add(s.Name, fmt.Sprint(s.First), last, count(s.Messages), count(s.Acked), size(s.Bytes), state)
		}
		segments.print(w)
	}
	fmt.Fprintln(w)
	if len(o.Lost) == 0 {
		fmt.Fprintln(w, "nothing was lost")
		return
	}
	lost := table{paint: p, head: []string{"lost seqs", ">messages", "cause", "what happened"}}
	for _, l := range o.Lost {
		lost.add(l.Ranges, count(l.Count), l.Cause, l.Text)
	}
	lost.print(w)
}
