package rule

import (
	"fmt"
	"strconv"
	"strings"

	"tidemark/protocol"
)

// template is a summary: text, and points whose values stand in it.
type template []part

type part struct{ text, point string }

// template reads the summary; without one, the rule's name and condition are it.
func (f *fields) template(r *rule) template {
	text := f.text("summary")
	if text == "" {
		return template{{text: r.name}}
	}
	t, err := parseTemplate(text)
	if err != nil {
		f.l.at(f.keys["summary"], "summary: %v", err)
	}
	return t
}

func parseTemplate(text string) (template, error) {
	if len(text) > protocol.MaxText {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(text), protocol.MaxText)
	}
	var t template
	for text != "" {
		before, rest, found := strings.Cut(text, "{")
		if before != "" {
			t = append(t, part{text: before})
		}
		if !found {
			break
		}
		name, rest, closed := strings.Cut(rest, "}")
		if !closed || !protocol.ValidPointName(name) {
			return nil, fmt.Errorf("{%.70s is not a point in braces, such as {boiler.temp_c}", name)
		}
		t = append(t, part{point: name})
		text = rest
	}
	return t, nil
}

// render puts values into the summary.
func (t template) render(value func(point string) (any, bool)) string {
	var b strings.Builder
	for _, p := range t {
		if p.point == "" {
			b.WriteString(p.text)
			continue
		}
		v, ok := value(p.point)
		if !ok {
			b.WriteString("(no value)")
			continue
		}
		switch v := v.(type) {
		case float64:
			b.WriteString(strconv.FormatFloat(v, 'g', 10, 64))
		default:
			fmt.Fprint(&b, v)
		}
	}
	return b.String()
}
