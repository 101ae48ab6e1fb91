package cli

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tidemark/cloud/contract"
	"tidemark/cloud/plain"
)

// readingsFlags are what readings are asked with.
type readingsFlags struct {
	gateway, from, to, rollup, cursor string
	points                            []string
	limit                             int
	csv, follow                       bool
}

func (a *app) readings() *cobra.Command {
	var f readingsFlags
	c := &cobra.Command{Use: "readings SITE", Short: "Show readings or roll-ups of a site, or follow them live", Args: cobra.ExactArgs(1),
		Example: "  tidemark readings busan-plant-2 --point boiler.flow_temp --from 1h\n  tidemark readings busan-plant-2 --rollup 1m --from 7d --csv > week.csv\n  tidemark readings busan-plant-2 --follow",
		RunE: func(c *cobra.Command, args []string) error {
			if f.follow {
				if c.Flags().Changed("from") || c.Flags().Changed("to") || f.rollup != "" || f.csv || f.cursor != "" {
					return usageError{errors.New("--follow shows readings as they arrive; it goes with --gateway, --point and --json only")}
				}
				return a.follow(c, args[0], f)
			}
			return a.showReadings(c, args[0], f)
		}}
	c.Flags().StringVar(&f.gateway, "gateway", "", "only this gateway")
	c.Flags().StringSliceVar(&f.points, "point", nil, "only this point, as device.point; repeat it or separate with commas")
	c.Flags().StringVar(&f.from, "from", "15m", "first moment: RFC 3339, milliseconds since the Unix epoch, or how long ago (15m, 2h, 7d)")
	c.Flags().StringVar(&f.to, "to", "", "first moment no longer included, in the same forms")
	c.Flags().StringVar(&f.rollup, "rollup", "", "roll-ups over 1m or 1h instead of readings")
	c.Flags().IntVar(&f.limit, "limit", 1000, "how many at most, up to 20000")
	c.Flags().StringVar(&f.cursor, "cursor", "", "the page after another, as that one said")
	c.Flags().BoolVar(&f.csv, "csv", false, "print CSV")
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "show readings as they arrive, until Ctrl-C")
	return c
}

func (a *app) showReadings(c *cobra.Command, site string, f readingsFlags) error {
	from, err := a.moment("from", f.from)
	if err != nil {
		return err
	}
	to, err := a.moment("to", f.to)
	if err != nil {
		return err
	}
	q := url.Values{"site": {site}, "gateway": {f.gateway}, "points": {strings.Join(f.points, ",")}, "from": {from}, "to": {to},
		"rollup": {f.rollup}, "limit": {strconv.Itoa(f.limit)}, "cursor": {f.cursor}}
	if f.csv {
		return a.readingsCSV(c, q)
	}
	var r struct {
		Readings []contract.Reading `json:"readings"`
		Rollups  []contract.Rollup  `json:"rollups"`
		Next     string             `json:"next"`
		freshness
	}
	if done, err := a.answer(c, "readings", q, &r); done {
		return err
	}
	t := newTable("TIME", "GATEWAY", "POINT", ">VALUE", "QUALITY", "REASON")
	if f.rollup != "" {
		t = newTable("FROM", "GATEWAY", "POINT", ">MEAN", ">MIN", ">MAX", ">READINGS", ">BAD")
	}
	for _, x := range r.Readings {
		t.add(utc(x.TimeMs), x.Gateway, x.Point, text(x.Value), codeColor(x.Quality), x.Reason)
	}
	for _, x := range r.Rollups {
		mean, low, high := "-", "-", "-"
		if x.Count > 0 {
			mean, low, high = fmt.Sprintf("%.6g", x.Mean), fmt.Sprintf("%.6g", x.Min), fmt.Sprintf("%.6g", x.Max)
		}
		t.add(utc(x.TimeMs), x.Gateway, x.Point, mean, low, high, count(x.Count), count(x.Bad))
	}
	if len(t.rows) > 0 {
		if err := a.print(t); err != nil {
			return err
		}
	}
	a.tell(r.freshness)
	if r.Next != "" {
		a.hint("There is more: add --cursor %s, or raise --limit.", r.Next)
	}
	return nil
}

func (a *app) readingsCSV(c *cobra.Command, q url.Values) error {
	q.Set("format", "csv")
	res, err := a.client.open(c.Context(), "readings", q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(a.env.Stdout, res.Body); err != nil {
		return &unreachable{server: a.client.base, err: err}
	}
	a.hint("as_of %s, lag %s s", res.Header.Get("Tidemark-As-Of"), res.Header.Get("Tidemark-Lag"))
	if reason := res.Header.Get("Tidemark-Missing-Reason"); reason != "" {
		a.hint("missing_reason %s: %s", reason, plain.Sentence(res.Header.Get("Tidemark-Missing-Text")))
	}
	if next := res.Header.Get("Tidemark-Next"); next != "" {
		a.hint("There is more: add --cursor %s, or raise --limit.", next)
	}
	return nil
}

func (a *app) count() *cobra.Command {
	var site, gateway, from, to string
	c := &cobra.Command{Use: "count", Short: "Count the readings that are stored", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		fromMs, err := a.moment("from", from)
		if err != nil {
			return err
		}
		toMs, err := a.moment("to", to)
		if err != nil {
			return err
		}
		var r struct {
			Readings int64 `json:"readings"`
			Good     int64 `json:"good"`
			Bad      int64 `json:"bad"`
			freshness
		}
		if done, err := a.answer(c, "readings/count", url.Values{"site": {site}, "gateway": {gateway}, "from": {fromMs}, "to": {toMs}}, &r); done {
			return err
		}
		t := newTable(">READINGS", ">GOOD", ">BAD")
		t.add(count(r.Readings), count(r.Good), count(r.Bad))
		if err := a.print(t); err != nil {
			return err
		}
		a.tell(r.freshness)
		return nil
	}}
	c.Flags().StringVar(&site, "site", "", "only this site")
	c.Flags().StringVar(&gateway, "gateway", "", "only this gateway")
	c.Flags().StringVar(&from, "from", "", "first moment: RFC 3339, milliseconds since the Unix epoch, or how long ago (15m, 2h, 7d)")
	c.Flags().StringVar(&to, "to", "", "first moment no longer included, in the same forms")
	return c
}
