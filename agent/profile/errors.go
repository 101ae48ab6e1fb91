package profile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrTooLong is part of the mistake of a file of more than [MaxSize] bytes.
var ErrTooLong = errors.New("a profile has at most 4 MiB")

// Pos is a place in a file. Line and Column count from 1; Line 0 means the file
// as a whole.
type Pos struct {
	File         string
	Line, Column int
}

func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Mistake is one thing that is wrong in a profile.
type Mistake struct {
	Pos  Pos
	Text string // for a person: what is wrong, and what to do
	Err  error  // what it comes from, if there is such an error
}

func (m *Mistake) Error() string { return m.Pos.String() + ": " + m.Text }

// Unwrap returns what the mistake comes from, or nil.
func (m *Mistake) Unwrap() error { return m.Err }

// Error is everything that is wrong in a profile, by place.
type Error struct {
	Mistakes []*Mistake // the first MaxMistakes
	More     int        // how many there are beyond those
}

// MaxMistakes is how many mistakes an Error holds; the rest are counted.
const MaxMistakes = 100

// Error tells one mistake a line, as file:line:column: text.
func (e *Error) Error() string {
	var b strings.Builder
	for i, m := range e.Mistakes {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(m.Error())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\nand %d more mistakes", e.More)
	}
	return b.String()
}

// Unwrap returns the mistakes.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Mistakes))
	for i, m := range e.Mistakes {
		errs[i] = m
	}
	return errs
}

// report gathers mistakes.
type report struct {
	file string
	all  []*Mistake
	more int // beyond maxKept
}

// maxKept bounds what is kept of a file that is wrong all over.
const maxKept = 10 * MaxMistakes

func (r *report) add(line, column int, err error, format string, args ...any) {
	if len(r.all) == maxKept {
		r.more++
		return
	}
	r.all = append(r.all, &Mistake{Pos{r.file, line, column}, fmt.Sprintf(format, args...), err})
}

// count returns how many there are so far.
func (r *report) count() int { return len(r.all) + r.more }

// err returns the gathered mistakes by place, or nil.
func (r *report) err() error {
	if len(r.all) == 0 {
		return nil
	}
	slices.SortStableFunc(r.all, func(a, b *Mistake) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	e := &Error{Mistakes: r.all, More: r.more}
	if n := len(r.all); n > MaxMistakes {
		e.Mistakes, e.More = r.all[:MaxMistakes], n-MaxMistakes+r.more
	}
	return e
}
