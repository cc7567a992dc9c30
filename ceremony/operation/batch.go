package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

// MaxItems bounds the items of one batch (ours): what a person can still read before signing it.
const MaxItems = 100

// Compound operations decide several items of one other operation together: one statement, one quorum, the
// strictest of all items. The engine does the items one after another, each as if it had been decided alone.
type Compound interface {
	Pinning // what every item acts on, at which governance revision
	// Items takes pinned parameters apart.
	Items(in Input) ([]Item, error)
}

// Item is one of the items of a compound operation.
type Item struct {
	Operation Operation // Pure or Effectful
	Input     Input
	Target    Target // as it was pinned
}

// Batchable lists the operations whose items can be decided together: on keys and on who uses them. What gives
// people power, opens a keystore or answers with a secret is decided one at a time.
func Batchable() []string {
	return []string{"application.resume", "application.suspend", "asset.register", "asset.rewrap", "grant.alter", "grant.create", "grant.revoke",
		"key.activate", "key.alter", "key.compromise", "key.create", "key.deactivate", "key.destroy", "key.move", "key.reclassify", "key.resume", "key.rotate",
		"key.suspend", "token.revoke"}
}

type batchParams struct {
	Operation string           `json:"operation"`
	Items     []jsontext.Value `json:"items"`             // parameters, one object an item
	Targets   []Target         `json:"targets,omitempty"` // of the items, in their order; filled in when it is proposed
}

// batch is a statement over a listed batch.
type batch struct{}

func (batch) Name() string { return "batch" }

// find is the operation whose items a batch lists.
func (batch) find(name string) (Operation, error) {
	if slices.Contains(Batchable(), name) {
		for _, o := range All() {
			if o.Name() == name {
				return o, nil
			}
		}
	}
	return nil, &custodian.InputError{Field: "operation", Problem: fmt.Sprintf("%q is not decided in batches", clean(name)), Allowed: strings.Join(Batchable(), ", ")}
}

func (o batch) read(in Input) (batchParams, Operation, error) {
	p, err := decode[batchParams](in)
	if err != nil {
		return p, nil, err
	}
	item, err := o.find(p.Operation)
	if err != nil {
		return p, nil, err
	}
	if err := key.CheckRange("items", len(p.Items), 1, MaxItems, "items"); err != nil {
		return p, nil, err
	}
	for i, raw := range p.Items {
		if raw.Kind() != '{' {
			return p, nil, &custodian.InputError{Field: fmt.Sprintf("items[%d]", i), Problem: "no object", Allowed: "the parameters of " + p.Operation}
		}
	}
	if len(p.Targets) > 0 && len(p.Targets) != len(p.Items) {
		return p, nil, &custodian.InputError{Field: "targets", Problem: fmt.Sprintf("%d for %d items", len(p.Targets), len(p.Items)), Allowed: "one an item, or none: they are filled in"}
	}
	return p, item, nil
}

// item is the input of one item.
func (p *batchParams) item(in Input, i int) Input {
	in.Params, in.Item = p.Items[i], i+1
	return in
}

func (o batch) Pin(ctx context.Context, env Env, view *store.View, in Input) ([]byte, error) {
	p, _, err := o.read(in)
	if err != nil {
		return nil, err
	}
	plans, err := o.plans(ctx, env, view, in)
	if err != nil {
		return nil, err
	}
	given := p.Targets
	p.Targets = make([]Target, len(plans))
	for i, plan := range plans {
		p.Targets[i] = plan.Target
		if given != nil && given[i] != plan.Target {
			return nil, &custodian.InputError{Field: fmt.Sprintf("targets[%d]", i), Problem: "not what the item acts on now: " + targetWords(given[i]),
				Allowed: targetWords(plan.Target) + ", or no targets: they are filled in"}
		}
	}
	return custodian.Detail(p), nil
}

func targetWords(t Target) string {
	return fmt.Sprintf("%s %s at revision %d", clean(t.Type), clean(t.ID), t.GovRevision)
}

// plans prepares every item; the first that cannot be prepared is named.
func (o batch) plans(ctx context.Context, env Env, view *store.View, in Input) ([]Plan, error) {
	p, operation, err := o.read(in)
	if err != nil {
		return nil, err
	}
	plans := make([]Plan, len(p.Items))
	seen := map[Target]int{}
	for i := range p.Items {
		if plans[i], err = operation.Prepare(ctx, env, view, p.item(in, i)); err != nil {
			return nil, inItem(i, err)
		}
		t := plans[i].Target
		t.GovRevision = 0
		if first, twice := seen[t]; twice {
			return nil, &custodian.InputError{Field: fmt.Sprintf("items[%d]", i), Problem: fmt.Sprintf("acts on %s %s as items[%d] does", t.Type, t.ID, first), Allowed: "each target once"}
		}
		seen[t] = i
	}
	return plans, nil
}

// inItem says which item an error is about.
func inItem(i int, err error) error {
	field, input := (*key.FieldError)(nil), (*custodian.InputError)(nil)
	at := fmt.Sprintf("items[%d]", i)
	switch {
	case errors.As(err, &field):
		return &key.FieldError{Field: at + "." + field.Field, Problem: field.Problem, Allowed: field.Allowed}
	case errors.As(err, &input):
		return &custodian.InputError{Field: at + "." + input.Field, Problem: input.Problem, Allowed: input.Allowed}
	}
	return fmt.Errorf("%s: %w", at, err)
}

// Prepare judges every item. While people decide, one item that can not be done refuses the whole; once they
// have decided, it is left out when the batch runs, and the others are done.
func (o batch) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, operation, err := o.read(in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "batch", ID: in.Ceremony}, Title: fmt.Sprintf("Do %s for each of %s listed", p.Operation, amount.Of(len(p.Items), "item"))}
	if in.ApprovedAt.IsZero() {
		plans, err := o.plans(ctx, env, view, in)
		if err != nil {
			return Plan{}, err
		}
		for i, one := range plans {
			plan.take(p.Operation, one)
			for _, r := range one.Deny {
				r.Message = fmt.Sprintf("item %d (%s %s): %s", i+1, one.Target.Type, one.Target.ID, r.Message)
				plan.Deny = append(plan.Deny, r)
			}
		}
		plan.Lines = batchLines(plans)
		return plan, nil
	}
	for i := range p.Items {
		one, err := operation.Prepare(ctx, env, view, p.item(in, i))
		if err != nil {
			continue // it is left out, with this reason, when its turn comes
		}
		plan.take(p.Operation, one)
		if waitsOnly(one.Deny) {
			plan.Deny = append(plan.Deny, one.Deny...)
		}
	}
	if len(plan.Quorums) == 0 {
		plan.Deny = []policies.Reason{refusal("no_item_left", "none of the items can be done any more", "propose anew what is still wanted")}
	}
	return plan, nil
}

// waitsOnly: nothing but a closed keystore is in the way, which its custodians will open.
func waitsOnly(deny []policies.Reason) bool {
	return len(deny) > 0 && !slices.ContainsFunc(deny, func(r policies.Reason) bool { return r.Code != custodian.CodeKeystoreInactive })
}

// take adds what an item asks of the decision.
func (plan *Plan) take(operation string, one Plan) {
	for _, s := range one.Subjects {
		if !slices.Contains(plan.Subjects, s) {
			plan.Subjects = append(plan.Subjects, s)
		}
	}
	q := one.Quorum
	q.Operation = operation
	plan.Quorums = append(plan.Quorums, q)
}

// batchLines shows every item: what happens to it, then its own lines but those that all have in common, which
// stand once at the end.
func batchLines(plans []Plan) []Line {
	var common, out []Line
	for _, l := range plans[0].Lines {
		if !slices.ContainsFunc(plans, func(one Plan) bool { return !slices.Contains(one.Lines, l) }) {
			common = append(common, l)
		}
	}
	for i, one := range plans {
		n := fmt.Sprintf("item %d", i+1)
		out = append(out, Line{Label: n, After: fmt.Sprintf("%s (%s %s at revision %d)", one.Title, one.Target.Type, one.Target.ID, one.Target.GovRevision)})
		for _, l := range one.Lines {
			if !slices.Contains(common, l) {
				out = append(out, Line{Label: n + ", " + l.Label, Before: l.Before, After: l.After})
			}
		}
	}
	for _, l := range common {
		out = append(out, Line{Label: "every item, " + l.Label, Before: l.Before, After: l.After})
	}
	return out
}

func (o batch) Items(in Input) ([]Item, error) {
	p, operation, err := o.read(in)
	if err != nil {
		return nil, err
	}
	if len(p.Targets) != len(p.Items) {
		return nil, errors.New("the items of this batch are not pinned to their targets")
	}
	out := make([]Item, len(p.Items))
	for i := range p.Items {
		out[i] = Item{Operation: operation, Input: p.item(in, i), Target: p.Targets[i]}
	}
	return out, nil
}
