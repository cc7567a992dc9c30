package policies

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
)

const noTest = "has no test "

// Finding is one thing wrong with the form of the bundle.
type Finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// String is "file:line: message".
func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message) }

// Rule is a rule's metadata: what it says of itself.
type Rule struct {
	ID          string   `json:"id"`
	Code        string   `json:"code"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Controls    []string `json:"controls"`
	Point       Point    `json:"point"`
	File        string   `json:"file"`
	Line        int      `json:"line"`
}

// Rules returns every rule of the bundle that gives reasons, sorted by id.
func (e *Engine) Rules() []Rule {
	rules, _ := e.bundle.rules()
	return rules
}

// Lint checks what compiling does not: formatting, metadata, negation, and that every rule has its test.
// Findings are sorted by file and line.
func (e *Engine) Lint() []Finding {
	_, findings := e.bundle.rules()
	for name, module := range e.bundle.modules {
		findings = append(findings, e.bundle.lintFormat(name)...)
		findings = append(findings, lintNegation(name, module)...)
		if test := strings.TrimSuffix(name, ".rego") + "_test.rego"; strings.HasPrefix(name, "rules/") && e.bundle.sources[test] == nil {
			findings = append(findings, Finding{name, 1, noTest + test})
		}
	}
	for _, name := range e.bundle.tests {
		findings = append(findings, e.bundle.lintFormat(name)...)
	}
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Message, b.Message))
	})
	return findings
}

func (b *bundle) lintFormat(name string) []Finding {
	formatted, err := format.SourceWithOpts(name, b.sources[name], format.Opts{RegoVersion: ast.RegoV1})
	switch {
	case err != nil:
		return []Finding{{name, 1, "cannot be formatted: " + err.Error()}}
	case !bytes.Equal(formatted, b.sources[name]):
		return []Finding{{name, 1, "is not formatted; run opa fmt"}}
	}
	return nil
}

// rules reads the metadata of every rule that gives reasons ("deny", "because"), with what is wrong in it.
func (b *bundle) rules() ([]Rule, []Finding) {
	var rules []Rule
	var findings []Finding
	seen := make(map[string]bool)
	for name, module := range b.modules {
		for _, r := range module.Rules {
			if head := r.Head.Ref().String(); head != "deny" && head != "because" {
				continue
			}
			rule := Rule{File: name, Line: r.Location.Row, Point: pointOf(module)}
			if problem := rule.readMetadata(r.Annotations); problem != "" {
				findings = append(findings, Finding{name, r.Location.Row, problem})
			}
			if seen[rule.ID] {
				findings = append(findings, Finding{name, r.Location.Row, "id " + rule.ID + " is used twice"})
			}
			seen[rule.ID] = true
			rules = append(rules, rule)
		}
	}
	slices.SortFunc(rules, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) })
	return rules, findings
}

// pointOf reads the decision point from the package path data.conclave.rules.<point>.<rule>.
func pointOf(module *ast.Module) Point {
	parts := strings.Split(module.Package.Path.String(), ".")
	if len(parts) < 4 || parts[2] != "rules" {
		return ""
	}
	return Point(parts[3])
}

// readMetadata fills the rule from its annotations and says what is missing, or "".
func (r *Rule) readMetadata(annotations []*ast.Annotations) string {
	at := slices.IndexFunc(annotations, func(a *ast.Annotations) bool { return a.Scope == "rule" })
	if at < 0 {
		return "has no metadata"
	}
	a := annotations[at]
	r.Title, r.Description = a.Title, a.Description
	r.ID, _ = a.Custom["id"].(string)
	r.Code, _ = a.Custom["code"].(string)
	controls, _ := a.Custom["controls"].([]any)
	for _, c := range controls {
		control, _ := c.(string)
		if framework, id, ok := strings.Cut(control, ":"); !ok || framework == "" || id == "" {
			return fmt.Sprintf("metadata: control %q is not framework:id", control)
		}
		r.Controls = append(r.Controls, control)
	}
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"title", r.Title == ""},
		{"description", r.Description == ""},
		{"custom.id", r.ID == ""},
		{"custom.code", r.Code == ""},
		{"custom.controls", len(r.Controls) == 0},
		{"package data.conclave.rules.<point>.<rule>", !slices.Contains(points(), r.Point)},
	} {
		if part.missing {
			return "metadata: " + part.name + " is missing"
		}
	}
	if !strings.HasPrefix(r.ID, string(r.Point)+".") {
		return fmt.Sprintf("metadata: id %s does not begin with its decision point %s", r.ID, r.Point)
	}
	return ""
}

// lintNegation allows "not" before a named condition only. The compiler evaluates parts of a negated
// expression before the negation, so that an undefined part makes the whole undefined instead of true,
// and a denial that should fire does not.
func lintNegation(name string, module *ast.Module) []Finding {
	var findings []Finding
	ast.WalkExprs(module, func(expr *ast.Expr) bool {
		if expr.Negated && !namedCondition(expr) {
			findings = append(findings, Finding{name, expr.Location.Row, "negates an expression; name the condition and negate the name"})
		}
		return false
	})
	return findings
}

func namedCondition(expr *ast.Expr) bool {
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		switch v := terms.Value.(type) {
		case ast.Var:
			return true
		case ast.Ref:
			return v.IsGround() && !v.HasPrefix(ast.InputRootRef) && !v.HasPrefix(ast.DefaultRootRef)
		}
	case []*ast.Term:
		if _, builtin := ast.BuiltinMap[terms[0].Value.String()]; builtin {
			return false
		}
		return !slices.ContainsFunc(terms[1:], func(t *ast.Term) bool {
			_, isVar := t.Value.(ast.Var)
			return !isVar && !ast.IsConstant(t.Value)
		})
	}
	return false
}
