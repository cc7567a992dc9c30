package policies

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// memo is what the bundle declares that authorisation reads (data/memo.json). Rules see no more of the
// encryption context than this, so that a decision can be kept for calls that differ elsewhere.
type memo struct {
	reads         []string // declared input paths, sorted
	contextFields []string // context fields rules may read besides those the grant names, sorted
}

// readMemo reads the declaration and proves that no authorisation rule reads an input path outside it.
func (b *bundle) readMemo(compiler *ast.Compiler) (memo, error) {
	tables, _ := b.data["tables"].(map[string]any)
	table, _ := tables["memo"].(map[string]any)
	reads, err := stringList(table["reads"])
	if err != nil {
		return memo{}, fmt.Errorf("%w: data/memo.json: reads %w", ErrBundle, err)
	}
	fields, err := stringList(table["context_fields"])
	if err != nil {
		return memo{}, fmt.Errorf("%w: data/memo.json: context_fields %w", ErrBundle, err)
	}
	m := memo{reads: reads, contextFields: fields}
	for _, rule := range reachable(compiler, PointAuthorise) {
		if ref := m.undeclared(rule); ref != "" {
			return memo{}, fmt.Errorf("%w: %s reads %s, which data/memo.json does not declare", ErrBundle, rule.Location, ref)
		}
	}
	return m, nil
}

// reachable returns every rule that a decision of the point may evaluate.
func reachable(compiler *ast.Compiler, point Point) []*ast.Rule {
	var rules []*ast.Rule
	seen := make(map[*ast.Rule]bool)
	queue := compiler.GetRules(ast.MustParseRef(entrypoint(point)))
	for len(queue) > 0 {
		rule := queue[0]
		queue = queue[1:]
		if seen[rule] {
			continue
		}
		seen[rule] = true
		rules = append(rules, rule)
		for node := range compiler.Graph.Dependencies(rule) {
			if dependency, ok := node.(*ast.Rule); ok {
				queue = append(queue, dependency)
			}
		}
	}
	return rules
}

func stringList(v any) ([]string, error) {
	items, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("is no list of strings")
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		s, ok := item.(string)
		if !ok {
			return nil, fmt.Errorf("holds something other than a string")
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out, nil
}

// undeclared returns the first input path of the rule that is not declared, or "".
func (m memo) undeclared(rule *ast.Rule) string {
	found := ""
	ast.WalkRefs(rule, func(ref ast.Ref) bool {
		if found == "" && ref.HasPrefix(ast.InputRootRef) {
			if name := inputPath(ref); !m.declares(name) {
				found = "input." + name
			}
		}
		return found != ""
	})
	ast.WalkTerms(rule, func(t *ast.Term) bool {
		if v, ok := t.Value.(ast.Var); ok && found == "" && v.Equal(ast.InputRootDocument.Value) {
			found = "input as a whole"
		}
		_, isRef := t.Value.(ast.Ref) // heads of references were judged above
		return isRef || found != ""
	})
	return found
}

// inputPath is the constant part of a reference below input, dotted.
func inputPath(ref ast.Ref) string {
	var parts []string
	for _, term := range ref[1:] {
		s, ok := term.Value.(ast.String)
		if !ok {
			break
		}
		parts = append(parts, string(s))
	}
	return strings.Join(parts, ".")
}

func (m memo) declares(name string) bool {
	return slices.ContainsFunc(m.reads, func(declared string) bool {
		return name == declared || strings.HasPrefix(name, declared+".")
	})
}

// visibleContext reports whether rules see this field of the encryption context.
func (m memo) visibleContext(field string, grant *GrantFacts) bool {
	if grant != nil {
		if _, named := grant.Context[field]; named {
			return true
		}
	}
	_, declared := slices.BinarySearch(m.contextFields, field)
	return declared
}

// usesCiphertextDate: the date and the accepted risk matter for a suspended version only (keystates note
// (a)); elsewhere rules do not see them, and decisions are shared by all ciphertexts.
func usesCiphertextDate(in *AuthoriseInput) bool {
	return in.Version != nil && in.Version.State == "suspended"
}

// AppendMemoKey appends to dst a key under which the caller may keep an allow Decision: two inputs with
// equal keys get equal decisions wherever [Decision.Holds]. It covers all that rules are shown except the
// time and the payload's length, which Holds covers. The caller binds the memo to the authority epoch and
// drops it when [Engine.Digest] changes.
func (e *Engine) AppendMemoKey(dst []byte, in *AuthoriseInput) []byte {
	k := memoKey{dst}
	k.text(string(in.Mode), in.Operation, in.ReasonCode)
	p := &in.Principal
	k.text(p.Kind, p.ID, p.Status, p.Environment)
	k.list(p.Roles)
	k.time(p.CredentialExpiresAt)
	k.flags(p.CredentialRevoked, in.Key != nil, in.Version != nil, in.Onto != nil, in.Grant != nil, in.Keystore != nil)
	if in.Key != nil {
		k.text(in.Key.ID, in.Key.Type, in.Key.Classification, in.Key.Impact, in.Key.Jurisdiction,
			in.Key.Environment, in.Key.Owner, in.Key.Keystore)
	}
	k.version(in.Version)
	k.version(in.Onto)
	if usesCiphertextDate(in) {
		k.flags(in.AcceptRisk)
		k.time(in.ProtectedAt)
	}
	if in.Keystore != nil {
		k.text(in.Keystore.ID, in.Keystore.Environment)
		k.flags(in.Keystore.Active)
		k.list(in.Keystore.Drift)
	}
	if g := in.Grant; g != nil {
		k.text(g.ID, g.Emergency)
		k.list(g.Operations)
		k.pairs(g.Context, func(string) bool { return true })
		k.time(g.ExpiresAt)
		k.flags(g.Revoked)
	}
	k.pairs(in.Context, func(field string) bool { return e.memo.visibleContext(field, in.Grant) })
	return k.bytes
}

// memoKey builds an unambiguous encoding: every variable-length part carries its length.
type memoKey struct{ bytes []byte }

func (k *memoKey) text(parts ...string) {
	for _, s := range parts {
		k.bytes = binary.AppendUvarint(k.bytes, uint64(len(s)))
		k.bytes = append(k.bytes, s...)
	}
}

func (k *memoKey) list(items []string) {
	k.bytes = binary.AppendUvarint(k.bytes, uint64(len(items)))
	k.text(items...)
}

func (k *memoKey) flags(flags ...bool) {
	for _, f := range flags {
		bit := byte(0)
		if f {
			bit = 1
		}
		k.bytes = append(k.bytes, bit)
	}
}

func (k *memoKey) time(t time.Time) {
	k.flags(!t.IsZero())
	k.bytes = binary.AppendVarint(k.bytes, t.UnixMicro())
}

func (k *memoKey) version(v *VersionFacts) {
	if v == nil {
		return
	}
	k.bytes = binary.AppendUvarint(k.bytes, uint64(v.Number))
	k.text(v.State)
	k.time(v.ActivationAt)
	k.time(v.OUPEnd)
	k.time(v.RUPEnd)
	k.time(v.SuspendedAt)
	k.flags(v.Suspected)
	k.text(v.ControlledUse)
	k.time(v.ControlledUntil)
}

// pairs appends the chosen entries in the order of their names.
func (k *memoKey) pairs(m map[string]string, chosen func(string) bool) {
	names := make([]string, 0, 8)
	for name := range m {
		if chosen(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	k.bytes = binary.AppendUvarint(k.bytes, uint64(len(names)))
	for _, name := range names {
		k.text(name, m[name])
	}
}
