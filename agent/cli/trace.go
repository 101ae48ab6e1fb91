package cli

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tidemark/agent/control"
)

func (c *commands) traceCommand() *cobra.Command {
	return c.withJSON(&cobra.Command{
		Use: "trace ID", Short: "Say where a message is; ID is a trace id, or a seq of this outbox", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.load(cmd); err != nil {
				return err
			}
			id := args[0]
			if seq, err := strconv.ParseUint(id, 10, 64); err == nil && len(id) < 20 {
				var o control.Outbox
				if _, err := c.ask(cmd.Context(), "/outbox", &o); err != nil {
					return err
				}
				id = fmt.Sprintf("%s%016x", o.Epoch, seq)
			}
			var t control.Trace
			raw, err := c.ask(cmd.Context(), "/trace/"+url.PathEscape(id), &t)
			if err != nil {
				return err
			}
			if c.json {
				_, err = c.out.Write(raw)
				return orFailed(err)
			}
			printTrace(c.out, &t, paintFor(c.out))
			return nil
		},
	})
}

func printTrace(w io.Writer, t *control.Trace, p paint) {
	state := p.good(t.State)
	if t.State == "lost" || t.State == "another_outbox" {
		state = p.bad(t.State)
	}
	fmt.Fprintf(w, "trace    %s\n", t.TraceID)
	fmt.Fprintf(w, "message  seq %d of epoch %s\n", t.Seq, t.Epoch)
	fmt.Fprintf(w, "state    %s: %s\n", state, t.Text)
	if t.Type != "" {
		at := time.UnixMilli(t.TimeMs)
		fmt.Fprintf(w, "content  %s of %s, queued %s (%s ago)\n", t.Type, size(uint64(t.Bytes)), at.Format("2006-01-02 15:04:05.000"), duration(time.Since(at)))
	}
}
