package operation

import (
	"context"
	"errors"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// sharesAbandon gives up a pending epoch: its secret wraps nothing, so that nothing but the work of issuing is lost.
type sharesAbandon struct{}

func (sharesAbandon) Name() string { return "shares.abandon" }

type abandonParams struct {
	Set    string `json:"set"`
	Reason string `json:"reason"`
}

func (sharesAbandon) read(view *store.View, in Input) (*people.ShareSet, store.Row, string, error) {
	p, err := decode[abandonParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	set, row, err := setRow(view, "set", p.Set)
	return set, row, reason, err
}

func (o sharesAbandon) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	set, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: setTarget(set, row), Title: fmt.Sprintf("Abandon the pending epoch of share set %s", set.ID),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "share_set", ID: set.ID, Threshold: set.Threshold, Total: set.Total}},
		Lines:  []Line{{Label: "share set", After: set.ID}, {Label: "reason", After: reason}}}
	if set.Pending == nil {
		plan.Deny = append(plan.Deny, refusal("nothing_pending", "share set "+set.ID+" has no pending epoch", "nothing to do"))
		return plan, nil
	}
	plan.Lines = append(plan.Lines, Line{Label: "pending epoch", Before: fmt.Sprint(set.Pending.Epoch), After: "none; its shares open nothing"})
	return plan, nil
}

func (o sharesAbandon) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	set, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if set.Pending == nil {
		return Result{}, errors.New("nothing is pending")
	}
	a := act(env, tx, in, reason)
	if err := endPending(a, tx, set); err != nil {
		return Result{}, err
	}
	epoch := set.Pending.Epoch
	set.Pending = nil
	e := a.event("shares.abandon", setEventTarget(set.ID), map[string]any{"epoch": epoch})
	if err := a.put(tx, custodian.KindShareSet, set.ID, set, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"share_set": set.ID, "abandoned": epoch}), nil
}
