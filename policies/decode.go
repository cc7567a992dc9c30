package policies

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// decoder reads one result object. The first thing that is missing or of the wrong type is kept as err;
// whoever uses the values checks err first, so a partial result never becomes a decision.
type decoder struct {
	object ast.Object
	at     string // where we are, for messages
	err    error
}

func decode(o ast.Object, at string) *decoder { return &decoder{object: o, at: at} }

func (d *decoder) fail(name, want string) {
	if d.err == nil {
		d.err = fmt.Errorf("deciding %s: %w: %s is missing or no %s", d.at, ErrUndefined, name, want)
	}
}

func (d *decoder) get(name string) ast.Value {
	term := d.object.Get(ast.InternedTerm(name))
	if term == nil {
		return nil
	}
	return term.Value
}

func (d *decoder) flag(name string) bool {
	b, ok := d.get(name).(ast.Boolean)
	if !ok {
		d.fail(name, "boolean")
	}
	return bool(b)
}

func (d *decoder) text(name string) string {
	s, ok := d.get(name).(ast.String)
	if !ok || s == "" {
		d.fail(name, "non-empty string")
	}
	return string(s)
}

// whole reads an integer of least or more, at most 2^53.
func (d *decoder) whole(name string, least int64) int64 {
	n, ok := d.get(name).(ast.Number)
	if !ok {
		d.fail(name, "number")
		return 0
	}
	i, ok := n.Int64()
	if !ok || i < least || i > 1<<53 {
		d.fail(name, fmt.Sprintf("whole number from %d to 2^53", least))
	}
	return i
}

func (d *decoder) count(name string, least int) int {
	n := d.whole(name, int64(least))
	if n > math.MaxInt32 {
		d.fail(name, "number below 2^31")
	}
	return int(n)
}

func (d *decoder) time(name string) time.Time {
	return time.UnixMicro(d.whole(name, 1)).UTC()
}

// items returns the members of an array or set.
func (d *decoder) items(name string) []*ast.Term {
	switch v := d.get(name).(type) {
	case *ast.Array:
		items := make([]*ast.Term, 0, v.Len())
		v.Foreach(func(t *ast.Term) { items = append(items, t) })
		return items
	case ast.Set:
		return v.Slice()
	}
	d.fail(name, "list")
	return nil
}

func (d *decoder) texts(name string) []string {
	var out []string
	for _, item := range d.items(name) {
		s, ok := item.Value.(ast.String)
		if !ok || s == "" {
			d.fail(name, "list of non-empty strings")
			return nil
		}
		out = append(out, string(s))
	}
	return out
}

// each calls f with a decoder of every object in a list.
func (d *decoder) each(name string, f func(*decoder)) {
	for i, item := range d.items(name) {
		o, ok := item.Value.(ast.Object)
		if !ok {
			d.fail(name, "list of objects")
			return
		}
		inner := decode(o, fmt.Sprintf("%s: %s[%d]", d.at, name, i))
		f(inner)
		d.adopt(inner)
	}
}

// sub returns a decoder of an inner object; adopt takes over its error.
func (d *decoder) sub(name string) *decoder {
	o, ok := d.get(name).(ast.Object)
	if !ok {
		d.fail(name, "object")
		o = ast.NewObject()
	}
	return decode(o, d.at+": "+name)
}

func (d *decoder) adopt(inner *decoder) {
	if d.err == nil {
		d.err = inner.err
	}
}

func (d *decoder) reasons(name string) []Reason {
	var out []Reason
	d.each(name, func(r *decoder) { out = append(out, r.reason()) })
	slices.SortFunc(out, compareReasons)
	return out
}

func (d *decoder) reason() Reason {
	return Reason{
		Rule: d.text("rule"), Code: d.text("code"), Message: d.text("message"),
		Remedy: d.text("remedy"), Controls: d.texts("controls"),
	}
}

func compareReasons(a, b Reason) int {
	return cmp.Or(strings.Compare(a.Rule, b.Rule), strings.Compare(a.Code, b.Code),
		strings.Compare(a.Message, b.Message), strings.Compare(a.Remedy, b.Remedy))
}

// consistent holds for every answer: it allows if and only if there is no reason against it.
func (d *decoder) consistent(allow bool, reasons []Reason) {
	if d.err == nil && allow != (len(reasons) == 0) {
		d.err = fmt.Errorf("deciding %s: %w: allow is %t with %d reasons against it", d.at, ErrUndefined, allow, len(reasons))
	}
}

func (e *Engine) decodeAuthorise(o ast.Object, in *AuthoriseInput) (Decision, error) {
	d := decode(o, string(PointAuthorise))
	out := Decision{Allow: d.flag("allow"), Reasons: d.reasons("reasons"), PolicyDigest: e.Digest()}
	d.consistent(out.Allow, out.Reasons)
	if d.err == nil && out.Allow {
		out.ValidFrom, out.ValidUntil = in.Now, d.time("valid_until")
		out.MaxPayload = d.count("max_payload", 0)
		out.Reads = slices.Clone(e.memo.reads)
		if d.err == nil && !out.Holds(in.Now, in.PayloadBytes) {
			d.err = fmt.Errorf("deciding %s: %w: an allow that does not hold for its own input", d.at, ErrUndefined)
		}
	}
	if d.err != nil {
		return Decision{}, d.err
	}
	return out, nil
}

func (e *Engine) decodePlacement(o ast.Object, in *PlacementInput) (PlacementDecision, error) {
	d := decode(o, string(PointPlace))
	out := PlacementDecision{PolicyDigest: e.Digest(), LeastLevel: d.count("least_level", 0), Validated: d.flag("validated")}
	d.each("keystores", func(v *decoder) {
		verdict := KeystoreVerdict{
			Keystore: v.text("keystore"), Allow: v.flag("allow"),
			EffectiveLevel: v.count("effective_level", 0), Reasons: v.reasons("reasons"), Exceptions: v.texts("exceptions"),
		}
		slices.Sort(verdict.Exceptions)
		v.consistent(verdict.Allow, verdict.Reasons)
		out.Keystores = append(out.Keystores, verdict)
	})
	if d.err != nil {
		return PlacementDecision{}, d.err
	}
	for _, candidate := range in.Keystores {
		if _, judged := out.Verdict(candidate.ID); !judged {
			return PlacementDecision{}, fmt.Errorf("deciding %s: %w: no verdict on keystore %s", PointPlace, ErrUndefined, candidate.ID)
		}
	}
	if len(out.Keystores) != len(in.Keystores) {
		return PlacementDecision{}, fmt.Errorf("deciding %s: %w: %d verdicts on %d keystores", PointPlace, ErrUndefined, len(out.Keystores), len(in.Keystores))
	}
	if err := out.together(in); err != nil {
		return PlacementDecision{}, err
	}
	out.sort(in)
	return out, nil
}

// sort puts the best first: see BestFirst.
func (d *PlacementDecision) sort(in *PlacementInput) {
	facts := make(map[string]*PlacementKeystore, len(in.Keystores))
	for i := range in.Keystores {
		facts[in.Keystores[i].ID] = &in.Keystores[i]
	}
	slices.SortFunc(d.Keystores, func(a, b KeystoreVerdict) int {
		if a.Allow != b.Allow {
			return order(b.Allow, a.Allow)
		}
		surplus := cmp.Compare(a.surplus(d.LeastLevel), b.surplus(d.LeastLevel))
		if !a.Allow {
			return cmp.Or(cmp.Compare(len(a.Reasons), len(b.Reasons)), surplus, strings.Compare(a.Keystore, b.Keystore))
		}
		ka, kb := facts[a.Keystore], facts[b.Keystore]
		return cmp.Or(order(len(a.Exceptions) > 0, len(b.Exceptions) > 0), surplus, cmp.Compare(ka.reach(), kb.reach()),
			order(ka.Tenancy != singleTenant, kb.Tenancy != singleTenant), strings.Compare(a.Keystore, b.Keystore))
	})
}

// order puts false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

const singleTenant = "single"

// reach ranks custody models by how many can read a key under them: nobody but the organisation, a provider who was
// given a copy, a provider whose key it is.
func (s *PlacementKeystore) reach() int {
	switch s.Custody {
	case "hyok", "self-hosted":
		return 0
	case "byok":
		return 1
	}
	return 2
}

// surplus is how far the level is from what is needed; shortfalls come after every surplus.
func (v KeystoreVerdict) surplus(least int) int {
	if v.EffectiveLevel < least {
		return math.MaxInt16 + least - v.EffectiveLevel
	}
	return v.EffectiveLevel - least
}

func (e *Engine) decodeQuorum(o ast.Object, in *QuorumInput) (QuorumDecision, error) {
	d := decode(o, string(PointQuorum)+" of "+in.Operation)
	least := 1
	out := QuorumDecision{Operation: in.Operation, Class: Class(d.text("class")), PolicyDigest: e.Digest()}
	if out.Class == PreAuthorised {
		least = 0
	}
	out.Approvals = d.count("approvals", least)
	out.RequesterCounts = out.Class == Protective || out.Class == Direct
	out.ApproverRoles = d.texts("approver_roles")
	d.each("roles", func(r *decoder) {
		out.Roles = append(out.Roles, RoleCount{Role: r.text("role"), Count: r.count("count", 1)})
	})
	out.ProposerKinds, out.ProposerRoles = d.texts("proposer_kinds"), d.texts("proposer_roles")
	out.OwnerOnly, out.Shares, out.Witness = d.flag("owner_only"), d.flag("shares"), d.flag("witness")
	out.Precedent, out.StepUp = d.flag("precedent"), d.flag("step_up")
	out.Script = d.get("script") != nil && d.flag("script")
	diversity := d.sub("diversity")
	out.Diversity = Diversity{
		Teams: diversity.count("teams", 1), Sites: diversity.count("sites", 1),
		ReportingLine: diversity.flag("reporting_line"),
	}
	d.adopt(diversity)
	out.CoolingOffSeconds, out.WaitSeconds = d.whole("cooling_off_seconds", 0), d.whole("wait_seconds", 0)
	out.ExpirySeconds, out.ReviewSeconds = d.whole("expiry_seconds", 1), d.whole("review_seconds", 0)
	out.CancelRoles = d.texts("cancel_roles")
	out.Allow, out.Denials, out.Reasons = d.flag("allow"), d.reasons("denials"), d.reasons("reasons")
	d.consistent(out.Allow, out.Denials)
	if d.err == nil && len(out.Reasons) == 0 {
		d.fail("reasons", "list with an entry")
	}
	if d.err != nil {
		return QuorumDecision{}, d.err
	}
	return out, nil
}

func (e *Engine) decodeLifecycle(o ast.Object) (LifecycleDecision, error) {
	d := decode(o, string(PointLifecycle))
	out := LifecycleDecision{Allow: d.flag("allow"), Reasons: d.reasons("reasons"), PolicyDigest: e.Digest()}
	d.consistent(out.Allow, out.Reasons)
	// Of an unknown type or class there are no periods to tell.
	if out.Allow || d.get("oup_days") != nil {
		out.OUPDays, out.RUPDays, out.RotateDays = d.count("oup_days", 1), d.count("rup_days", 1), d.count("rotate_days", 1)
		out.MaxOUPDays, out.MaxRUPDays = d.count("max_oup_days", 1), d.count("max_rup_days", 1)
		out.DestroyWaitDays = d.count("destroy_wait_days", 1)
		out.SuspensionReviewDays = d.count("suspension_review_days", 1)
		out.WarnDays = d.days("warn_days")
	}
	if d.err != nil {
		return LifecycleDecision{}, d.err
	}
	return out, nil
}

// days reads a list of positive whole numbers, largest first.
func (d *decoder) days(name string) []int {
	var out []int
	for _, item := range d.items(name) {
		n, _ := item.Value.(ast.Number)
		days, exact := n.Int()
		if !exact || days < 1 {
			d.fail(name, "list of positive whole numbers")
			return nil
		}
		out = append(out, days)
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}
