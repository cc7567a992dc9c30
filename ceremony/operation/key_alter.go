package operation

import (
	"context"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

type keyAlterParams struct {
	Key        string `json:"key"`
	Label      string `json:"label"`
	Owner      string `json:"owner"`
	Purpose    string `json:"purpose"`
	RotateDays int    `json:"rotate_days"`
	Reason     string `json:"reason"`
}

// keyAlter changes what is on record of a key and decides nothing about its material: its label, purpose, owner,
// and after how many days it is rotated.
type keyAlter struct{}

func (keyAlter) Name() string { return "key.alter" }

func (keyAlter) read(ctx context.Context, env Env, view *store.View, in Input) (before, after *key.Key, reason string, deny []policies.Reason, err error) {
	p, err := decode[keyAlterParams](in)
	if err != nil {
		return nil, nil, "", nil, err
	}
	if reason, err = why("reason", p.Reason, in); err != nil {
		return nil, nil, "", nil, err
	}
	if before, err = keyRow(view, "key", p.Key); err != nil {
		return nil, nil, "", nil, err
	}
	own := *before
	after = &own
	for _, f := range []struct{ to, from *string }{{&after.Label, &p.Label}, {&after.Owner, &p.Owner}, {&after.Purpose, &p.Purpose}} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	if p.RotateDays != 0 {
		after.RotateDays = p.RotateDays
	}
	if err := after.Validate(); err != nil {
		return nil, nil, "", nil, err
	}
	if p.Owner != "" {
		if _, err := presentPerson(view, "owner", p.Owner); err != nil {
			return nil, nil, "", nil, err
		}
	}
	periods, err := lifecycle(ctx, env, in, after)
	if err == nil && !periods.Allow {
		deny = periods.Reasons
	}
	return before, after, reason, deny, err
}

func (o keyAlter) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	before, after, reason, deny, err := o.read(ctx, env, view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: keyTarget(before), Title: fmt.Sprintf("Change what is on record of key %s", before.ID), Quorum: keyQuorum(before), Deny: deny,
		Lines: append([]Line{keyLine(before)}, changes([][3]string{{"label", before.Label, after.Label}, {"owner", before.Owner, after.Owner},
			{"purpose", before.Purpose, after.Purpose}, {"rotated after", amount.Of(before.RotateDays, "day"), amount.Of(after.RotateDays, "day")}})...)}
	if len(plan.Lines) == 1 {
		plan.Deny = append(plan.Deny, refusal("no_change", "nothing would change", "name what is to be different"))
	}
	plan.Lines = append(plan.Lines, Line{Label: "reason", After: reason})
	if after.Owner != before.Owner { // who takes over, and who hands over, do not decide it
		plan.Subjects = []string{before.Owner, after.Owner}
	}
	return plan, nil
}

// changes shows the facts that differ, each as label, before, after.
func changes(facts [][3]string) []Line {
	var out []Line
	for _, f := range facts {
		if f[1] != f[2] {
			out = append(out, Line{Label: f[0], Before: f[1], After: f[2]})
		}
	}
	return out
}

func (o keyAlter) Execute(ctx context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	before, after, reason, _, err := o.read(ctx, env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	after.GovRevision++
	e := a.event("key.alter", ledger.Target{Type: "key", ID: after.ID}, map[string]any{"owner": after.Owner, "owner_before": before.Owner, "rotate_days": after.RotateDays, "label": after.Label})
	return result(map[string]any{"key": after.ID, "owner": after.Owner, "rotate_days": after.RotateDays}), a.put(tx, custodian.KindKey, after.ID, after, e)
}
