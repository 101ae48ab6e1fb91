package cli

import (
	"io"
	"strings"
	"unicode/utf8"
)

// The colours of a terminal.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	bold   = "\x1b[1m"
	reset  = "\x1b[0m"
)

// cell is a field of a table; its colour takes no room.
type cell struct{ text, color string }

// table aligns columns. A heading that begins with > stands at the right, and
// so does what is under it.
type table struct {
	heads []string
	rows  [][]cell
}

func newTable(heads ...string) *table { return &table{heads: heads} }

func (t *table) add(cells ...any) {
	row := make([]cell, len(cells))
	for i, c := range cells {
		switch x := c.(type) {
		case cell:
			row[i] = x
		case string:
			row[i] = cell{text: x}
		}
	}
	t.rows = append(t.rows, row)
}

func (t *table) write(w io.Writer, color bool) error {
	width := make([]int, len(t.heads))
	head := make([]cell, len(t.heads))
	for i, h := range t.heads {
		head[i] = cell{strings.TrimPrefix(h, ">"), bold}
	}
	all := append([][]cell{head}, t.rows...)
	for _, row := range all {
		for i := range row {
			row[i].text = printable(row[i].text)
			width[i] = max(width[i], utf8.RuneCountInString(row[i].text))
		}
	}
	var out strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.text))
			right := strings.HasPrefix(t.heads[i], ">")
			if right {
				line.WriteString(pad)
			}
			line.WriteString(paint(c.text, c.color, color))
			if !right && i < len(row)-1 {
				line.WriteString(pad)
			}
			if i < len(row)-1 {
				line.WriteString("  ")
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func paint(text, code string, color bool) string {
	if !color || code == "" || text == "" {
		return text
	}
	return code + text + reset
}

// printable keeps what comes from devices from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError {
			return '·'
		}
		return r
	}, s)
}

// codeColor is the colour of a response_code, quality, state or severity.
func codeColor(s string) cell {
	switch s {
	case "ok", "good", "cleared", "online":
		return cell{s, green}
	case "ignored", "timeout", "uncertain", "warning":
		return cell{s, yellow}
	case "failed", "rejected", "bad", "firing", "critical", "error", "offline":
		return cell{s, red}
	}
	return cell{text: s}
}
