package rule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"tidemark/protocol"
)

// costLimit bounds one evaluation, in CEL's units: a comparison is one, a look
// at a text of n bytes n/10.
const costLimit = 20_000

// maxCondition is the longest condition, in bytes.
const maxCondition = 4096

// qualityPrefix stands before a point's name in the variable that holds its
// quality. No name of a point can begin so.
const qualityPrefix = "quality:"

// tri is the outcome of a condition.
type tri int8

const (
	unknown tri = iota
	no
	yes
)

// condition is a compiled CEL expression on points.
type condition struct {
	text    string
	points  []string // that it names, sorted
	program cel.Program
}

// baseEnv is what conditions have in common: CEL's standard operators and
// functions, numbers of all kinds compared with each other, no loops.
var baseEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(cel.CrossTypeNumericComparisons(true), cel.ClearMacros(),
		cel.Macros(cel.GlobalMacro("point", 1, nameMacro("")), cel.GlobalMacro("quality", 1, nameMacro(qualityPrefix))),
		cel.ParserExpressionSizeLimit(maxCondition), cel.ParserRecursionLimit(64))
})

// nameMacro makes of point("device.point") the variable of that name.
func nameMacro(prefix string) cel.MacroFactory {
	return func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		var name types.String
		if args[0].Kind() == ast.LiteralKind {
			name, _ = args[0].AsLiteral().(types.String) // not a text: the empty name
		}
		if !protocol.ValidPointName(string(name)) {
			return nil, f.NewError(args[0].ID(), `a point is named by a text of the form "device.point" here`)
		}
		return f.NewIdent(prefix + string(name)), nil
	}
}

// compile makes a condition of its text. An error is a [*conditionError].
func compile(text string) (*condition, error) {
	if len(text) > maxCondition {
		return nil, failedAt(1, 1, fmt.Sprintf("a condition of %d bytes is over the limit of %d", len(text), maxCondition))
	}
	env, err := baseEnv()
	if err != nil {
		return nil, err
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil, issuesError(issues)
	}
	names, err := namesIn(parsed)
	if err != nil {
		return nil, err
	}
	c := &condition{text: text}
	var variables []cel.EnvOption
	for _, n := range names {
		t := cel.DynType
		if p, isQuality := strings.CutPrefix(n, qualityPrefix); isQuality {
			t, n = cel.StringType, p
			variables = append(variables, cel.Variable(qualityPrefix+p, t))
		} else {
			variables = append(variables, cel.Variable(n, t))
		}
		c.points = append(c.points, n)
	}
	slices.Sort(c.points)
	c.points = slices.Compact(c.points)
	if len(c.points) == 0 {
		return nil, failedAt(1, 1, "it names no point; write device.point, or point(\"device.point\") for names with a hyphen")
	}
	if env, err = env.Extend(variables...); err != nil {
		return nil, failedAt(1, 1, err.Error())
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return nil, issuesError(issues)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, failedAt(1, 1, fmt.Sprintf("it gives a %s, and a condition is true or false", t))
	}
	if c.program, err = env.Program(checked, cel.CostLimit(costLimit)); err != nil {
		return nil, failedAt(1, 1, err.Error())
	}
	return c, nil
}

// namesIn returns the variables that a condition names: device.point, or what
// the macros made.
func namesIn(parsed *cel.Ast) (names []string, err error) {
	root := parsed.NativeRep()
	var inner = map[int64]bool{}
	var failures conditionError
	at := func(e ast.Expr, text string) {
		loc := root.SourceInfo().GetStartLocation(e.ID())
		failures.parts = append(failures.parts, failure{loc.Line(), loc.Column() + 1, text})
	}
	ast.PreOrderVisit(root.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			operand := e.AsSelect().Operand()
			if operand.Kind() != ast.IdentKind {
				if operand.Kind() == ast.SelectKind {
					inner[operand.ID()] = true
				}
				at(e, fmt.Sprintf("a point has two names, device.point; .%s is one too many", e.AsSelect().FieldName()))
				return
			}
			inner[operand.ID()] = true
			name := operand.AsIdent() + "." + e.AsSelect().FieldName()
			if strings.Contains(operand.AsIdent(), ".") || !protocol.ValidPointName(name) {
				at(e, fmt.Sprintf("%.140q is not the name of a point: device.point, in small letters, digits, - and _", name))
				return
			}
			names = append(names, name)
		case ast.IdentKind:
			if n := e.AsIdent(); strings.Contains(n, ".") {
				names = append(names, n)
			} else if !inner[e.ID()] {
				at(e, fmt.Sprintf("%.70q is neither a point nor known here; a point is device.point", n))
			}
		case ast.StructKind, ast.ComprehensionKind, ast.MapKind:
			at(e, "this is more than a condition may hold: operators, functions and lists of values")
		}
	}))
	if len(failures.parts) > 0 {
		return nil, &failures
	}
	return names, nil
}

// lookup gives the variables of a condition their values.
type lookup func(name string) (any, bool)

// ResolveName is part of CEL's Activation.
func (l lookup) ResolveName(name string) (any, bool) { return l(name) }

// Parent is part of CEL's Activation.
func (l lookup) Parent() cel.Activation { return nil }

// eval evaluates the condition. With an error it is unknown.
func (c *condition) eval(l lookup) (tri, error) {
	v, _, err := c.program.Eval(l)
	switch {
	case err != nil:
		return unknown, explain(err)
	case v == types.True:
		return yes, nil
	case v == types.False:
		return no, nil
	case types.IsUnknown(v):
		return unknown, nil
	}
	return unknown, fmt.Errorf("rule: it gave a %s, and a condition is true or false", v.Type().TypeName())
}

// explain adds to CEL's words what to do about the commonest error.
func explain(err error) error {
	if strings.Contains(err.Error(), "no such overload") {
		return fmt.Errorf("rule: %w: values of these kinds do not go together; + - * / need numbers of one kind: write 2.0 for 2, or double(device.point)", err)
	}
	return fmt.Errorf("rule: %w", err)
}

// celValue returns a reading as CEL has it: unknown if it has no value.
func celValue(name string, v protocol.Value, q protocol.Quality) ref.Val {
	if q >= protocol.Bad {
		return types.NewUnknown(1, types.NewAttributeTrail(name))
	}
	switch v.Kind() {
	case protocol.Int:
		return types.Int(v.Int())
	case protocol.Bool:
		return types.Bool(v.Bool())
	case protocol.Text:
		return types.String(v.Text())
	}
	return types.Double(v.Float())
}

// conditionError is what is wrong in a condition, with places in its text.
type conditionError struct{ parts []failure }

type failure struct {
	line, column int // from 1
	text         string
}

func (e *conditionError) Error() string {
	errs := make([]error, len(e.parts))
	for i, p := range e.parts {
		errs[i] = fmt.Errorf("%d:%d: %s", p.line, p.column, p.text)
	}
	return errors.Join(errs...).Error()
}

func failedAt(line, column int, text string) error {
	return &conditionError{[]failure{{line, column, text}}}
}

func issuesError(issues *cel.Issues) error {
	e := &conditionError{}
	for _, i := range issues.Errors() {
		loc := i.Location
		if loc == nil {
			loc = common.NoLocation
		}
		e.parts = append(e.parts, failure{max(loc.Line(), 1), max(loc.Column(), 0) + 1, i.Message})
	}
	return e
}

// celQuality returns a point's quality as CEL has it: unknown if it was never read.
func celQuality(name string, q protocol.Quality) ref.Val {
	if q == protocol.NotRead {
		return types.NewUnknown(1, types.NewAttributeTrail(qualityPrefix+name))
	}
	return types.String(q.String())
}
