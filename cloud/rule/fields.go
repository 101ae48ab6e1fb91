package rule

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// fields are the values of one rule.
type fields struct {
	l    *loader
	keys map[string]*yaml.Node
	node *yaml.Node
}

func (f *fields) text(key string) string {
	n := f.keys[key]
	switch {
	case n == nil || isNull(n):
		return ""
	case n.Kind != yaml.ScalarNode:
		f.l.at(n, "%s is one value, not a list or keys", key)
		return ""
	case n.Value == "":
		f.l.at(n, "%s is empty; give a value, or remove the key", key)
	}
	return n.Value
}

// needed is text of a key that must be there. Where an unknown key stands, it
// is likely meant by that, which has been said.
func (f *fields) needed(key string) string {
	if f.keys[key] == nil && len(f.keys) == len(f.node.Content)/2 {
		f.l.at(f.node, "the rule has no %s", key)
	}
	return f.text(key)
}

func (f *fields) condition(key string, needed bool) *condition {
	var text string
	if needed {
		text = f.needed(key)
	} else {
		text = f.text(key)
	}
	if text == "" {
		return nil
	}
	c, err := compile(text)
	var bad *conditionError
	switch {
	case errors.As(err, &bad):
		for _, p := range bad.parts {
			line, column := f.l.place(f.keys[key], p.line, p.column)
			f.l.add(line, column, fmt.Sprintf("%s, at %d:%d of its text: %s", key, p.line, p.column, p.text))
		}
	case err != nil:
		f.l.at(f.keys[key], "%s: %v", key, err)
	}
	return c
}

// place returns where in the file a place in a scalar's text is: exactly where
// the text stands there as it is, else where the scalar begins.
func (l *loader) place(n *yaml.Node, line, column int) (int, int) {
	first := strings.Split(n.Value, "\n")[0]
	switch n.Style {
	case yaml.LiteralStyle:
		at := n.Line + line // the text begins behind the line of the |
		if at-1 < len(l.lines) {
			lines := strings.Split(n.Value, "\n")
			if i := strings.Index(l.lines[at-1], lines[min(line, len(lines))-1]); i >= 0 {
				return at, i + column
			}
		}
	case yaml.FoldedStyle:
	default:
		if n.Line-1 < len(l.lines) && line == 1 && n.Column <= len(l.lines[n.Line-1]) {
			if i := strings.Index(l.lines[n.Line-1][n.Column-1:], first); i >= 0 && first == n.Value {
				return n.Line, n.Column - 1 + i + column
			}
		}
	}
	return n.Line, n.Column
}
