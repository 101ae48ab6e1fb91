package readme

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the top of the checkout, seen from here.
const root = "../.."

// block is one fenced block.
type block struct {
	line int // of its first line inside
	lang string
	text []string
}

// command is one command of a sh block, with what a text block right below says that it prints.
type command struct {
	line  int
	text  string
	shown []string
}

// blocks returns the fenced blocks of a Markdown text.
func blocks(markdown string) []block {
	var out []block
	open := false
	for n, line := range strings.Split(markdown, "\n") {
		lang, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open:
			open = false
		case fence:
			open = true
			out = append(out, block{line: n + 2, lang: lang})
		case open:
			b := &out[len(out)-1]
			b.text = append(b.text, line)
		}
	}
	return out
}

// commands returns what the sh blocks hold. A text block belongs to the last command of the sh block before it.
func commands(all []block) []command {
	var out []command
	for i, b := range all {
		if b.lang == "text" && i > 0 && all[i-1].lang == "sh" && len(out) > 0 {
			out[len(out)-1].shown = b.text
		}
		if b.lang != "sh" {
			continue
		}
		for n, line := range b.text {
			text, _, _ := strings.Cut(line, "  #")
			if text = strings.TrimSpace(text); text != "" && !strings.HasPrefix(text, "#") {
				out = append(out, command{line: b.line + n, text: text})
			}
		}
	}
	return out
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var link = regexp.MustCompile(`\]\(([^)]+)\)`)

// dead returns the links of a Markdown text that lead to no file of the checkout and no heading.
func dead(markdown string) []string {
	headings := map[string]bool{}
	for line := range strings.Lines(markdown) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			headings[anchor(title)] = true
		}
	}
	var out []string
	for _, m := range link.FindAllStringSubmatch(markdown, -1) {
		target, fragment, _ := strings.Cut(m[1], "#")
		if strings.Contains(target, "://") {
			continue
		}
		if target == "" {
			if !headings[fragment] {
				out = append(out, m[1])
			}
		} else if _, err := os.Stat(filepath.Join(root, target)); err != nil {
			out = append(out, m[1])
		}
	}
	return out
}

var notInAnchors = regexp.MustCompile(`[^a-z0-9 _-]`)

// anchor is the fragment by which a heading is reached.
func anchor(title string) string {
	return strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
}

func TestLinks(t *testing.T) {
	text := readme(t)
	if n := len(link.FindAllString(text, -1)); n < 20 {
		t.Errorf("README.md has only %d links: is this the pattern of a link?", n)
	}
	for _, l := range dead(text) {
		t.Errorf("README.md links to %s, which is not there", l)
	}
	if got := dead("# A b, c\n[x](go.mod) [y](#a-b-c) [z](nowhere/x.go) [u](#nowhere) [v](https://example.org/)"); len(got) != 2 {
		t.Errorf("of two dead links found %q", got)
	}
}

func TestCommandsAreFound(t *testing.T) {
	got := commands(blocks("a\n```sh\nmake x  # why\n# comment\nbin/y\n```\n\n```text\nshown\n```\n```\nbin/z\n```\n"))
	if len(got) != 2 || got[0].text != "make x" || got[0].line != 3 || got[1].text != "bin/y" || len(got[1].shown) != 1 {
		t.Errorf("found %+v", got)
	}
}
