package rule

import (
	"fmt"
	"strings"
)

// Mistake is something wrong in a file of rules.
type Mistake struct {
	File         string
	Line, Column int // from 1; 0 if the file as a whole is meant
	Text         string
}

func (m Mistake) Error() string {
	if m.Line == 0 {
		return m.File + ": " + m.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Text)
}

// LoadError is every mistake in the files of rules, in the order of files and lines.
type LoadError struct{ Mistakes []Mistake }

func (e *LoadError) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = m.Error()
	}
	return fmt.Sprintf("rule: %d mistakes in the rules; correct them and start again:\n%s", len(lines), strings.Join(lines, "\n"))
}
