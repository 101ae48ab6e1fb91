package profile

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"tidemark/drivers"
)

// checkDrivers refuses drivers with keys that a profile has itself, or with
// one name.
func checkDrivers(known []drivers.Driver) error {
	names := map[string]bool{}
	for _, k := range known {
		if names[k.Name] {
			return fmt.Errorf("profile: two drivers are called %s", k.Name)
		}
		names[k.Name] = true
		for _, l := range []struct {
			level string
			own   func() drivers.Config
			ours  []string
		}{{"bus", k.Bus, busKeys}, {"device", k.Device, deviceKeys}, {"point", k.Point, pointKeys}} {
			for _, key := range ownKeys(l.own) {
				if slices.Contains(l.ours, key) {
					return fmt.Errorf("profile: driver %s has a key %s of a %s, which profiles have themselves", k.Name, key, l.level)
				}
			}
		}
	}
	return nil
}

// ownKeys returns the keys of a driver's configuration.
func ownKeys(fresh func() drivers.Config) (keys []string) {
	if fresh == nil {
		return nil
	}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(fresh()).Elem()) {
		if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); f.IsExported() && key != "" && key != "-" {
			keys = append(keys, key)
		}
	}
	return keys
}

func allKeys(n *yaml.Node) (keys []string) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			keys = append(keys, n.Content[i].Value)
		}
	}
	return keys
}

// config fills a driver's configuration from its own keys in f.
func (d *decoder) config(f *fields, fresh func() drivers.Config, own []string) drivers.Config {
	if fresh == nil {
		return nil
	}
	c := fresh()
	sub := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: f.node.Line, Column: f.node.Column}
	for i := 0; i < len(f.node.Content); i += 2 {
		k := f.node.Content[i]
		if v := f.value[k.Value]; v == f.node.Content[i+1] && slices.Contains(own, k.Value) {
			sub.Content = append(sub.Content, k, v)
		}
	}
	if base, ok := c.(interface{ SetBaseDir(dir string) }); ok {
		base.SetBaseDir(d.dir)
	}
	if err := sub.Load(c, yaml.WithKnownFields()); err != nil {
		// Validate would complain of the values that are now missing.
		d.loadErrors(f, err)
		return c
	}
	if !f.bad { // else it would complain of what is missing for that reason
		d.validation(f, c.Validate())
	}
	return c
}

// loadErrors reports values that don't fit a driver's configuration.
func (d *decoder) loadErrors(f *fields, err error) {
	var many *yaml.LoadErrors
	var one *yaml.LoadError
	switch {
	case errors.As(err, &many):
		for _, e := range many.Errors {
			d.loadError(f, e)
		}
	case errors.As(err, &one):
		d.loadError(f, one)
	default:
		d.add(f.node.Line, f.node.Column, err, "%v", err)
	}
}

var (
	construct = regexp.MustCompile("^cannot construct (!!\\w+)(?: `([^`]*)`)? into (.+)$")
	noField   = regexp.MustCompile(`^field (\S+) not found in type`)
)

// loadError reports one, in the words of a profile instead of those of Go.
func (d *decoder) loadError(f *fields, e *yaml.LoadError) {
	text := e.Message
	if m := construct.FindStringSubmatch(text); m != nil {
		what := quote(m[2])
		switch m[1] {
		case "!!seq":
			what = "a list"
		case "!!map":
			what = "a list of keys and values"
		}
		text = what + " is not " + goWords(m[3])
	} else if m := noField.FindStringSubmatch(text); m != nil {
		text = "there is no key " + quote(m[1])
	}
	line, column := e.Mark.Line, e.Mark.Column
	if line == 0 {
		line, column = f.node.Line, f.node.Column
	}
	for key, v := range f.value {
		if v.Line == line && v.Column == column {
			text = key + ": " + text
			break
		}
	}
	d.add(line, column, e, "%s", text)
}

// goWords says in a person's words what a Go type holds.
func goWords(t string) string {
	t = strings.TrimLeft(t, "*")
	switch {
	case t == "time.Duration":
		return "a time such as 500ms, 10s or 5m"
	case strings.HasPrefix(t, "int"):
		return "a whole number"
	case strings.HasPrefix(t, "uint"):
		return "a whole number of 0 or more"
	case strings.HasPrefix(t, "float"):
		return "a number"
	case t == "bool":
		return "true or false"
	case t == "string":
		return "text"
	case strings.HasPrefix(t, "["):
		return "a list"
	}
	return "a list of keys and values"
}

// validation reports what a driver says about its configuration, each mistake
// at its key.
func (d *decoder) validation(f *fields, err error) {
	switch e := err.(type) { //nolint:errorlint // the tree of errors is walked, not searched
	case nil:
	case *drivers.FieldError:
		n := find(f, e.Field)
		d.add(n.Line, n.Column, err, "%v", err)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			d.validation(f, one)
		}
	default:
		var fe *drivers.FieldError
		if errors.As(err, &fe) {
			n := find(f, fe.Field)
			d.add(n.Line, n.Column, err, "%v", err)
			return
		}
		d.add(f.node.Line, f.node.Column, err, "%v", err)
	}
}

// find returns the value at a path such as a or a.b, or else what should hold it.
func find(f *fields, path string) *yaml.Node {
	at := f.node
	for key := range strings.SplitSeq(path, ".") {
		if at.Kind != yaml.MappingNode {
			return at
		}
		i := 0
		for i < len(at.Content) && at.Content[i].Value != key {
			i += 2
		}
		if i >= len(at.Content) {
			return at
		}
		at = at.Content[i+1]
	}
	return at
}

// open has the driver look at the bus as a whole, and checks the settings that
// depend on what it offers.
func (d *decoder) open(n *yaml.Node, b *Bus) {
	s, err := b.Driver.Open(b.Spec)
	if err != nil {
		d.add(n.Line, n.Column, err, "%v", err)
		return
	}
	for _, scan := range s.Scans() {
		for _, p := range scan.Points {
			if set := b.Settings(p); set.Deadband > 0 && p.Type != drivers.Float && p.Type != drivers.Int {
				d.at(d.bands[pointName{p.Device, p.Name}], "deadband: the values of point %s.%s are no numbers", p.Device, p.Name)
			}
		}
	}
	if err := s.Close(); err != nil {
		d.add(n.Line, n.Column, err, "%v", err)
	}
}
