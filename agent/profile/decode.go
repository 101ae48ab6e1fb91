package profile

import (
	"math"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"

	"tidemark/drivers"
)

// fields is a mapping, taken apart.
type fields struct {
	node  *yaml.Node
	value map[string]*yaml.Node
	bad   bool // some values are not there, since they can't be looked into
}

// Keys that the profile itself has at each level.
var (
	rootKeys    = []string{"version", "site", "gateway", "cadence", "buses"}
	cadenceKeys = []string{"interval", "commit", "send", "heartbeat"}
	busKeys     = []string{"name", "driver", "devices"}
	deviceKeys  = []string{"name", "interval", "points"}
	pointKeys   = []string{"name", "unit", "deadband", "max_silence"}
)

// decoder makes a Profile of a tree.
type decoder struct {
	*report
	known   []drivers.Driver
	dir     string
	profile *Profile
	bad     map[*yaml.Node]bool      // already reported
	devices map[string]*yaml.Node    // by name, over all buses
	bands   map[pointName]*yaml.Node // deadbands of the bus
}

func (d *decoder) at(n *yaml.Node, format string, args ...any) {
	d.add(n.Line, n.Column, nil, format, args...)
}

// mapping takes a mapping apart. Keys outside known are mistakes. It returns
// nil if n is none.
func (d *decoder) mapping(n *yaml.Node, what string, known ...string) *fields {
	if d.bad[n] {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.at(n, "%s is a list of keys and values, such as %s: …", what, known[0])
		return nil
	}
	f := &fields{node: n, value: map[string]*yaml.Node{}}
	allowed := map[string]bool{}
	for _, k := range known {
		allowed[k] = true
	}
	first := map[string]*yaml.Node{}
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case d.bad[k]:
			continue
		case first[k.Value] != nil:
			d.at(k, "%s stands here twice; first in line %d", k.Value, first[k.Value].Line)
			continue
		case !allowed[k.Value]:
			f.bad = true // it may be one that is needed
			d.at(k, "%s has no key %s%s", what, quote(k.Value), meant(k.Value, known))
		case d.bad[v]:
			f.bad = true
		case v.Kind == yaml.ScalarNode && v.ShortTag() == "!!null":
			d.at(k, "%s has no value; give one, or remove the key", k.Value)
		default:
			f.value[k.Value] = v
		}
		first[k.Value] = k
	}
	return f
}

// has says whether the mapping has the key, even with a wrong value.
func (f *fields) has(key string) bool {
	for i := 0; i < len(f.node.Content); i += 2 {
		if f.node.Content[i].Value == key {
			return true
		}
	}
	return false
}

// list returns the elements of a list that must have some.
func (d *decoder) list(f *fields, key, what string) []*yaml.Node {
	v := f.value[key]
	switch {
	case v == nil && f.has(key):
	case v == nil:
		d.at(f.node, "%s has no %s", what, key)
	case v.Kind != yaml.SequenceNode:
		d.at(v, "%s is a list", key)
	case len(v.Content) == 0:
		d.at(v, "%s is empty; %s needs at least one", key, what)
	default:
		return v.Content
	}
	return nil
}

// text returns a scalar's text.
func (d *decoder) text(f *fields, key string) (string, *yaml.Node) {
	v := f.value[key]
	if v == nil {
		return "", nil
	}
	if v.Kind != yaml.ScalarNode {
		d.at(v, "%s is one value, not a list or keys", key)
		return "", nil
	}
	return v.Value, v
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// name returns a name that must be there. If it is not right, it is empty.
func (d *decoder) name(f *fields, key, what string) (string, *yaml.Node) {
	s, n := d.text(f, key)
	if n == nil {
		if !f.has(key) {
			d.at(f.node, "%s has no %s", what, key)
		}
		return "", nil
	}
	if !nameForm.MatchString(s) {
		d.at(n, "%s %s: a name has 1 to 63 of a-z, 0-9, _ and -, and begins with a letter or digit", key, quote(s))
		return "", nil
	}
	return s, n
}

// duration returns the key's value within its bounds, or def.
func (d *decoder) duration(f *fields, key string, least, most, def time.Duration) time.Duration {
	s, n := d.text(f, key)
	if n == nil {
		return def
	}
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		d.at(n, "%s: %s is no time such as 500ms, 10s or 5m", key, quote(s))
	case v < least || v > most:
		d.at(n, "%s: %s is outside %s to %s", key, s, short(least), short(most))
	default:
		return v
	}
	return def
}

// short renders a duration without its zero parts: 10m rather than 10m0s.
func short(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return d.String()
}

// number returns the key's value if it is finite and at least 0.
func (d *decoder) number(f *fields, key string) float64 {
	s, n := d.text(f, key)
	if n == nil {
		return 0
	}
	var v float64
	if err := n.Load(&v); err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		d.at(n, "%s: %s is no number of 0 or more", key, quote(s))
		return 0
	}
	return v
}

// quote renders what a file holds, bounded.
func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strconv.Quote(s)
}
