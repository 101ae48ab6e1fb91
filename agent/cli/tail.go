package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/agent/control"
)

func (c *commands) tailCommand() *cobra.Command {
	limit := 0
	cmd := c.withJSON(&cobra.Command{
		Use: "tail [POINT...]", Short: "Show readings as they are taken; POINT is device.point, or a pattern such as 'boiler.*'",
		RunE: func(cmd *cobra.Command, filters []string) error {
			for _, f := range filters {
				if _, err := path.Match(f, ""); err != nil {
					return fmt.Errorf("%q is no pattern: quote *, ? and [ in pairs, as in 'boiler.*'", f)
				}
			}
			if err := c.load(cmd); err != nil {
				return err
			}
			return c.tail(cmd, filters, limit)
		},
	})
	cmd.Flags().IntVarP(&limit, "count", "n", 0, "stop after so many readings (default: when interrupted)")
	return cmd
}

func (c *commands) tail(cmd *cobra.Command, filters []string, limit int) error {
	p := paintFor(c.out)
	shown := 0
	return c.lines(cmd.Context(), "/tail", func(line []byte) (bool, error) {
		var r control.Reading
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber() // an int64 stays what it is
		if err := d.Decode(&r); err != nil {
			return false, failed(exitFailed, fmt.Errorf("what answers at %s is no agent of this version: %w", c.socket(), err))
		}
		if !wanted(r.Point, filters) {
			return true, nil
		}
		var err error
		if c.json {
			_, err = fmt.Fprintf(c.out, "%s\n", line)
		} else {
			_, err = fmt.Fprintln(c.out, readingLine(&r, p))
		}
		if err != nil {
			return false, failed(exitFailed, err)
		}
		shown++
		return limit <= 0 || shown < limit, nil
	})
}

// wanted reports whether a point is asked for: by its name, its device, or a pattern.
func wanted(point string, filters []string) bool {
	if len(filters) == 0 {
		return true
	}
	device, _, _ := strings.Cut(point, ".")
	for _, f := range filters {
		if f == device {
			return true
		}
		if ok, err := path.Match(f, point); err == nil && ok {
			return true
		}
	}
	return false
}

func readingLine(r *control.Reading, p paint) string {
	at := time.UnixMilli(r.TimeMs).Format("15:04:05.000")
	value := valueText(r.Value)
	if r.Unit != "" {
		value += " " + r.Unit
	}
	switch {
	case r.Value == nil:
		value = p.bad(r.Quality + ": " + r.Reason)
	case r.Quality != "good":
		value += "  " + p.bad(r.Quality+": "+r.Reason)
	}
	return fmt.Sprintf("%s  %-32s  %s", p.faint(at), r.Point, value)
}

// valueText tells a value; a number that is a float32 with as many digits as
// that has.
func valueText(v any) string {
	n, ok := v.(json.Number)
	if !ok {
		return fmt.Sprint(v)
	}
	f, err := n.Float64()
	if _, notInt := n.Int64(); err != nil || notInt == nil || float64(float32(f)) != f {
		return n.String()
	}
	return strconv.FormatFloat(f, 'f', -1, 32)
}
