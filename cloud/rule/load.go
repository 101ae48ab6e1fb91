package rule

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"tidemark/protocol"
)

// The limits of rules.
const (
	maxFile = 1 << 20 // bytes
	maxFor  = 31 * 24 * time.Hour
)

// rule is one rule, ready to be evaluated.
type rule struct {
	name, file, site string
	severity         string
	summary          template
	hold             time.Duration
	when, clear      *condition // clear may be nil: not when
	points           []string   // that the conditions name, sorted
	shown            []string   // that only the summary names
	hash             string     // of what decides whether it fires
}

var (
	ruleKeys   = []string{"name", "site", "when", "for", "clear_when", "severity", "summary"}
	severities = []string{"info", "warning", "critical"}
)

// load reads the rules of a folder: every *.yaml and *.yml in it. An error is a
// [*LoadError] with every mistake of every file.
func load(dir string) ([]*rule, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("rule: folder of rules: %w; make it, or leave the setting out", err)
	}
	l := &loader{names: map[string]string{}}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); f.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		l.file = filepath.Join(dir, f.Name())
		l.read()
	}
	if len(l.mistakes) > 0 {
		return nil, &LoadError{l.mistakes}
	}
	return l.rules, nil
}

// loader gathers rules and mistakes.
type loader struct {
	file     string
	lines    []string // of the file
	names    map[string]string
	rules    []*rule
	mistakes []Mistake
}

func (l *loader) at(n *yaml.Node, format string, args ...any) {
	l.add(n.Line, n.Column, fmt.Sprintf(format, args...))
}

func (l *loader) add(line, column int, text string) {
	l.mistakes = append(l.mistakes, Mistake{l.file, line, column, text})
}

func (l *loader) read() {
	if info, err := os.Stat(l.file); err == nil && info.Size() > maxFile {
		l.add(0, 0, fmt.Sprintf("its %d bytes are over the limit of %d; split it", info.Size(), maxFile))
		return
	}
	text, err := os.ReadFile(l.file)
	if err != nil {
		l.add(0, 0, "it cannot be read: "+err.Error())
		return
	}
	l.parse(text)
}

// parse reads the rules of a file's text.
func (l *loader) parse(text []byte) {
	l.lines = strings.Split(string(text), "\n")
	if !slices.ContainsFunc(l.lines, func(line string) bool { line = strings.TrimSpace(line); return line != "" && line[0] != '#' }) {
		return // nothing, or comments only, which YAML takes for a missing document
	}
	first := len(l.mistakes)
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		l.syntax(err)
		return
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 && !isNull(doc.Content[0]) {
		root := l.mapping(doc.Content[0], "the file", []string{"rules"})
		if list, ok := root["rules"]; ok && list.Kind != yaml.SequenceNode {
			l.at(list, "rules is a list; begin each rule with \"- name: …\"")
		} else if ok {
			for _, n := range list.Content {
				l.rule(n)
			}
		}
	}
	slices.SortStableFunc(l.mistakes[first:], func(a, b Mistake) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// syntax notes what the YAML parser says, which has the places.
func (l *loader) syntax(err error) {
	var many *yaml.LoadErrors
	var one *yaml.LoadError
	switch {
	case errors.As(err, &many):
		for _, e := range many.Errors {
			l.add(e.Mark.Line, max(e.Mark.Column, 1), "not YAML: "+e.Message)
		}
	case errors.As(err, &one):
		l.add(one.Mark.Line, max(one.Mark.Column, 1), "not YAML: "+one.Message)
	default:
		l.add(0, 0, "not YAML: "+err.Error())
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// mapping takes a mapping with the given keys apart.
func (l *loader) mapping(n *yaml.Node, what string, known []string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	if n.Kind == yaml.AliasNode {
		l.at(n, "an alias stands for %s; write it out", what)
		return out
	}
	if n.Kind != yaml.MappingNode {
		l.at(n, "%s is a list of keys and values, such as %s: …", what, known[0])
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(known, k.Value):
			l.at(k, "%s has no key %.70q%s", what, k.Value, meant(k.Value, known))
		case out[k.Value] != nil:
			l.at(k, "%s stands here twice; first in line %d", k.Value, out[k.Value].Line)
		case isNull(v):
			l.at(k, "%s has no value; give one, or remove the key", k.Value)
			out[k.Value] = v
		default:
			out[k.Value] = v
		}
	}
	return out
}

// rule reads one rule. With a mistake in it, it is not kept, but looked at to
// its end.
func (l *loader) rule(n *yaml.Node) {
	before := len(l.mistakes)
	f := fields{l, l.mapping(n, "a rule", ruleKeys), n}
	if n.Kind != yaml.MappingNode {
		return
	}
	r := &rule{file: l.file, name: f.needed("name"), site: f.text("site"), severity: f.text("severity")}
	l.checkName(&f, r)
	if r.site != "" && !protocol.ValidName(r.site) {
		l.at(f.keys["site"], "%.70q is not the name of a site: small letters, digits, - and _", r.site)
	}
	if r.severity == "" {
		r.severity = "warning"
	} else if !slices.Contains(severities, r.severity) {
		l.at(f.keys["severity"], "%.70q is not a severity%s", r.severity, meant(r.severity, severities))
	}
	if text := f.text("for"); text != "" {
		var err error
		if r.hold, err = time.ParseDuration(text); err != nil || r.hold < 0 || r.hold > maxFor {
			l.at(f.keys["for"], "%.40q is not a time such as 30s, 5m or 1h30m, up to %s", text, maxFor)
		}
	}
	r.when, r.clear = f.condition("when", true), f.condition("clear_when", false)
	r.summary = f.template(r)
	if len(l.mistakes) > before {
		return
	}
	r.finish()
	l.rules = append(l.rules, r)
}

func (l *loader) checkName(f *fields, r *rule) {
	switch {
	case r.name == "":
	case !protocol.ValidName(r.name):
		l.at(f.keys["name"], "%.70q is not a name of a rule: small letters, digits, - and _, at most 63", r.name)
	case l.names[r.name] != "":
		l.at(f.keys["name"], "the name %s is taken by the rule at %s", r.name, l.names[r.name])
	default:
		l.names[r.name] = fmt.Sprintf("%s:%d", l.file, f.keys["name"].Line)
	}
}

// finish works out what follows from the rule's text.
func (r *rule) finish() {
	r.points = slices.Clone(r.when.points)
	if r.clear != nil {
		r.points = append(r.points, r.clear.points...)
	}
	slices.Sort(r.points)
	r.points = slices.Compact(r.points)
	for _, part := range r.summary {
		if part.point != "" && !slices.Contains(r.points, part.point) && !slices.Contains(r.shown, part.point) {
			r.shown = append(r.shown, part.point)
		}
	}
	clear := ""
	if r.clear != nil {
		clear = r.clear.text
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d", r.site, r.when.text, clear, r.hold))
	r.hash = hex.EncodeToString(sum[:8])
}
