package profile

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxDepth is how deep a profile nests at most. The form needs 8.
const maxDepth = 32

// parseTree parses the one document in text, and replaces variables. It returns
// the nodes that can't be looked into, and no root if there is none; in both
// cases it has reported why.
func parseTree(r *report, text []byte, lookup func(string) (string, bool)) (root *yaml.Node, bad map[*yaml.Node]bool) {
	if i := invalid(text); i >= 0 {
		line := bytes.Count(text[:i], []byte{'\n'})
		column := utf8.RuneCount(text[bytes.LastIndexByte(text[:i], '\n')+1 : i])
		r.add(line+1, column+1, nil, "this is no text in UTF-8; save the file as UTF-8")
		return nil, nil
	}
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		reportYAML(r, err)
		return nil, nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.add(0, 0, nil, "the profile is empty")
		return nil, nil
	}
	t := tree{report: r, lookup: lookup, bad: map[*yaml.Node]bool{}}
	t.walk(doc.Content[0], 0)
	return doc.Content[0], t.bad
}

// invalid returns where text stops being UTF-8, or -1.
func invalid(text []byte) int {
	for i := 0; i < len(text); {
		c, n := utf8.DecodeRune(text[i:])
		if c == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// reportYAML reports what the YAML parser says.
func reportYAML(r *report, err error) {
	one := func(e *yaml.LoadError) {
		text := strings.TrimPrefix(e.Message, "yaml: ")
		if e.ContextMsg != "" {
			text = e.ContextMsg + ": " + text
		}
		r.add(e.Mark.Line, e.Mark.Column, err, "this is not YAML: %s", text)
	}
	var many *yaml.LoadErrors
	var single *yaml.LoadError
	switch {
	case errors.As(err, &many):
		for _, e := range many.Errors {
			if strings.Contains(e.Message, "no documents") {
				r.add(0, 0, err, "the profile is empty")
			} else if strings.Contains(e.Message, "multiple") {
				r.add(0, 0, err, "the file holds several documents; a profile is one")
			} else {
				one(e)
			}
		}
	case errors.As(err, &single):
		one(single)
	default:
		r.add(0, 0, err, "this is not YAML: %v", err)
	}
}

// tree goes through a document once before it is decoded.
type tree struct {
	*report
	lookup func(string) (string, bool)
	bad    map[*yaml.Node]bool
}

func (t *tree) refuse(n *yaml.Node, format string, args ...any) {
	t.add(n.Line, n.Column, nil, format, args...)
	t.bad[n] = true
}

// walk refuses what a profile may not use, and replaces variables.
func (t *tree) walk(n *yaml.Node, depth int) {
	switch {
	case depth > maxDepth:
		t.refuse(n, "this nests more than %d levels deep", maxDepth)
	case n.Kind == yaml.AliasNode:
		t.refuse(n, "an alias (*%s) can't be used in a profile; write it out", n.Value)
	case n.Anchor != "":
		t.refuse(n, "an anchor (&%s) can't be used in a profile", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		t.refuse(n, "a tag (%s) can't be used in a profile", n.Tag)
	case n.Kind == yaml.ScalarNode:
		t.expand(n)
	case n.Kind == yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.Anchor != "" || key.ShortTag() != "!!str" {
				t.refuse(key, "a key is a plain word")
			}
			t.walk(n.Content[i+1], depth+1)
		}
	case n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			t.walk(c, depth+1)
		}
	}
}

var variable = regexp.MustCompile(`\$?\$\{[^}]*\}?`)
var variableName = regexp.MustCompile(`^TIDEMARK_[A-Z0-9_]+$`)

// expand replaces ${TIDEMARK_NAME} by the environment's value. A plain scalar
// may become a number by that; what a variable holds is never parsed as YAML.
func (t *tree) expand(n *yaml.Node) {
	if !strings.Contains(n.Value, "${") {
		return
	}
	n.Value = variable.ReplaceAllStringFunc(n.Value, func(s string) string {
		if strings.HasPrefix(s, "$$") {
			return s[1:]
		}
		name, closed := strings.CutSuffix(s[2:], "}")
		if !closed || !variableName.MatchString(name) {
			t.refuse(n, "%s is no variable that a profile can use; those are called ${TIDEMARK_…}, and $${ stands for ${", s)
			return s
		}
		v, set := t.lookup(name)
		if !set || v == "" {
			t.refuse(n, "the environment has no %s; set it before the agent starts", name)
		}
		return v
	})
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		n.Tag = ""
	}
}
