package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cloud/contract"
	"tidemark/cloud/plain"
)

// Bounds of the live tail.
const (
	maxEvent   = 4 << 20          // one line of a server-sent event
	silence    = 45 * time.Second // the server says something every 15 s; after this the connection is dead
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
)

// follow prints readings until ctx is done. A tail that cannot be opened at
// all fails; one that is interrupted is opened again, and the gap is named.
func (a *app) follow(c *cobra.Command, site string, f readingsFlags) error {
	q := url.Values{"site": {site}, "gateway": {f.gateway}, "points": {strings.Join(f.points, ",")}}
	wait := firstRetry
	for opened := false; ; {
		began := a.env.Now()
		err := a.followOnce(c.Context(), q, &opened)
		var no *refused
		switch {
		case c.Context().Err() != nil:
			return nil
		case !opened, errors.As(err, &no) && exitCode(no) != exitTemporary:
			return err
		}
		if a.env.Now().Sub(began) > lastRetry {
			wait = firstRetry
		}
		a.hint("The live tail was interrupted: %v\nIt is opened again; what arrives meanwhile is shown by tidemark readings %s --from %s", err, site, utc(a.env.Now().UnixMilli()))
		select {
		case <-c.Context().Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

func (a *app) followOnce(ctx context.Context, q url.Values, opened *bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	res, err := a.client.open(ctx, "live", q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	dead := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the server has been silent for %s", plain.Span(silence.Milliseconds()))) })
	defer dead.Stop()
	*opened = true
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	name := ""
	for lines.Scan() {
		dead.Reset(silence)
		if v, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = v
		} else if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := a.event(name, v); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if lines.Err() != nil {
		return lines.Err()
	}
	return io.ErrUnexpectedEOF
}

// event prints one event; an end is an error.
func (a *app) event(name, data string) error {
	if name != "readings" {
		var s struct{ State, Reason, Text string }
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			return fmt.Errorf("an event that this version does not understand: %w", err)
		}
		if name == "end" {
			return errors.New(s.Text)
		}
		if s.State != "live" {
			a.hint("%s, %s: %s", s.State, s.Reason, s.Text)
		}
		return nil
	}
	var l contract.LiveReadings
	d := json.NewDecoder(bytes.NewReader([]byte(data)))
	d.UseNumber()
	if err := d.Decode(&l); err != nil {
		return fmt.Errorf("an event that this version does not understand: %w", err)
	}
	if a.json {
		_, err := fmt.Fprintln(a.env.Stdout, data)
		return err
	}
	for _, r := range l.Readings {
		line := fmt.Sprintf("%s  %-24s %-28s %14s", utc(r.TimeMs), l.Gateway, printable(r.Point), printable(text(r.Value)))
		if r.Quality != "good" {
			line += "  " + paint(r.Quality, codeColor(r.Quality).color, a.color) + " " + printable(r.Reason)
		}
		if _, err := fmt.Fprintln(a.env.Stdout, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	if l.Skipped > 0 {
		a.hint("%d more readings were left out, because they come faster than a live tail shows", l.Skipped)
	}
	return nil
}
