package policies

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	strict "github.com/go-json-experiment/json"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// maxExplainBytes bounds the input of Explain.
const maxExplainBytes = 1 << 20

// Explanation tells how a decision came about.
type Explanation struct {
	Point        Point           `json:"point"`
	PolicyDigest string          `json:"policy_digest"`
	Decision     json.RawMessage `json:"decision"`          // the typed decision as JSON; null when there is none
	Problem      string          `json:"problem,omitempty"` // why there is none
	Rules        []RuleOutcome   `json:"rules"`
	Tables       []string        `json:"tables"` // tables that were read, e.g. "classifications.ephi"
}

// RuleOutcome is what one rule contributed.
type RuleOutcome struct {
	Rule
	Fired   bool     `json:"fired"`
	Reasons []Reason `json:"reasons,omitempty"`
}

// Explain decides once more with a trace. Input is the JSON form of the point's typed input; unknown and
// duplicate names are refused.
func (e *Engine) Explain(ctx context.Context, point Point, input []byte) (Explanation, error) {
	if len(input) > maxExplainBytes {
		return Explanation{}, fmt.Errorf("%w: %d bytes; at most %d are taken", ErrInput, len(input), maxExplainBytes)
	}
	out := Explanation{Point: point, PolicyDigest: e.Digest()}
	value, decision, reasons, err := e.decideJSON(ctx, point, input)
	if value == nil {
		return Explanation{}, err
	}
	if err != nil {
		out.Problem = err.Error()
	}
	if out.Decision, err = json.Marshal(decision); err != nil {
		return Explanation{}, fmt.Errorf("encoding the decision: %w", err)
	}
	tables := &tableTracer{read: make(map[string]bool)}
	if _, err := e.evaluate(ctx, point, value, rego.EvalQueryTracer(tables)); err != nil && out.Problem == "" {
		out.Problem = err.Error()
	}
	out.Tables = tables.names()
	for _, rule := range e.Rules() {
		if rule.Point != point {
			continue
		}
		outcome := RuleOutcome{Rule: rule}
		for _, reason := range reasons {
			if reason.Rule == rule.ID {
				outcome.Fired = true
				outcome.Reasons = append(outcome.Reasons, reason)
			}
		}
		out.Rules = append(out.Rules, outcome)
	}
	return out, nil
}

// decideJSON decides for a JSON input. It returns the rules' input (nil when the JSON is refused), the
// typed decision (nil when there is none), and every reason in it.
func (e *Engine) decideJSON(ctx context.Context, point Point, input []byte) (ast.Value, any, []Reason, error) {
	switch point {
	case PointAuthorise:
		var in AuthoriseInput
		if err := readInput(input, &in); err != nil {
			return nil, nil, nil, err
		}
		d, err := e.Authorise(ctx, in)
		return e.memo.authoriseValue(&in), unless(err, d), d.Reasons, err
	case PointPlace:
		var in PlacementInput
		if err := readInput(input, &in); err != nil {
			return nil, nil, nil, err
		}
		d, err := e.Place(ctx, in)
		var reasons []Reason
		for _, v := range d.Keystores {
			for _, r := range v.Reasons {
				r.Message = v.Keystore + ": " + r.Message
				reasons = append(reasons, r)
			}
		}
		return placementValue(&in), unless(err, d), reasons, err
	case PointQuorum:
		var in QuorumInput
		if err := readInput(input, &in); err != nil {
			return nil, nil, nil, err
		}
		d, err := e.Quorum(ctx, in)
		return quorumValue(&in), unless(err, d), slices.Concat(d.Reasons, d.Denials), err
	case PointLifecycle:
		var in LifecycleInput
		if err := readInput(input, &in); err != nil {
			return nil, nil, nil, err
		}
		d, err := e.Lifecycle(ctx, in)
		return lifecycleValue(&in), unless(err, d), d.Reasons, err
	}
	return nil, nil, nil, fmt.Errorf("%w: decision point is %q; allowed are %v", ErrInput, point, points())
}

// unless returns the decision, or nil where there is an error.
func unless(err error, decision any) any {
	if err != nil {
		return nil
	}
	return decision
}

func readInput(input []byte, into any) error {
	if err := strict.Unmarshal(input, into, strict.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	return nil
}

// String tells the explanation in words.
func (x Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Decision point %s, policy %.16s\n", x.Point, x.PolicyDigest)
	if x.Problem != "" {
		fmt.Fprintf(&b, "No decision, so it is refused: %s\n", x.Problem)
	} else {
		fmt.Fprintf(&b, "Decision: %s\n", x.Decision)
	}
	b.WriteString("\nRules that spoke\n")
	quiet := 0
	for _, r := range x.Rules {
		if !r.Fired {
			quiet++
			continue
		}
		for _, reason := range r.Reasons {
			fmt.Fprintf(&b, "  %s [%s] %s\n      what would make it pass: %s\n      serves %s; %s:%d\n",
				r.ID, r.Code, reason.Message, reason.Remedy, strings.Join(reason.Controls, ", "), r.File, r.Line)
		}
	}
	if quiet == len(x.Rules) {
		b.WriteString("  none\n")
	}
	b.WriteString("\nRules with nothing to say\n")
	for _, r := range x.Rules {
		if !r.Fired {
			fmt.Fprintf(&b, "  %s: %s\n", r.ID, r.Title)
		}
	}
	b.WriteString("\nTables read\n")
	for _, t := range x.Tables {
		fmt.Fprintf(&b, "  %s\n", t)
	}
	return b.String()
}

// tableTracer collects the table entries that an evaluation refers to.
type tableTracer struct{ read map[string]bool }

// Enabled implements topdown.QueryTracer.
func (t *tableTracer) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (t *tableTracer) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

// TraceEvent implements topdown.QueryTracer.
func (t *tableTracer) TraceEvent(event topdown.Event) {
	expr, ok := event.Node.(*ast.Expr)
	if !ok || event.Op != topdown.EvalOp {
		return
	}
	tables := ast.Ref{ast.DefaultRootDocument, ast.StringTerm("tables")}
	ast.WalkRefs(expr, func(ref ast.Ref) bool {
		if ref.HasPrefix(tables) && len(ref) > len(tables) {
			t.read[tableName(ref[len(tables):], event.Locals)] = true
		}
		return false
	})
}

// tableName is the path of a reference as far as it is known at this point of the evaluation.
func tableName(path ast.Ref, locals *ast.ValueMap) string {
	var parts []string
	for _, term := range path {
		value := term.Value
		if _, unbound := value.(ast.Var); unbound && locals != nil {
			if bound := locals.Get(value); bound != nil {
				value = bound
			}
		}
		s, ok := value.(ast.String)
		if !ok {
			break
		}
		parts = append(parts, string(s))
	}
	return strings.Join(parts, ".")
}

func (t *tableTracer) names() []string {
	names := make([]string, 0, len(t.read))
	for name := range t.read {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
