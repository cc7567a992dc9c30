package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/store"
)

type keyActivateParams struct {
	Key     string `json:"key"`
	Version uint32 `json:"version"`
}

// keyActivate brings a version into use (T4) whose activation date is reached. Where a node asks, it cites the
// ceremony that made the version and set the date.
type keyActivate struct{}

func (keyActivate) Name() string { return "key.activate" }

func (keyActivate) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	k, v, err := keyActivate{}.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: versionTarget(v), Title: fmt.Sprintf("Activate version %d of key %s", v.Version, k.ID), Quorum: keyQuorum(k),
		Lines: []Line{keyLine(k), stateLine(v, string(key.Active)),
			{Label: "activation date", After: v.ActivationAt.Format(time.RFC3339)}}}
	if in.Requester.Kind == identity.Node {
		plan.Quorum.Precedent = precedent(v)
	}
	facts, err := activationFacts(ctx, env, view, k, in)
	if err != nil {
		return Plan{}, err
	}
	_, err = v.Apply(foresee(in, in.Reason).transition("T4"), facts)
	plan.Deny, err = refusals(err)
	return plan, err
}

func (keyActivate) read(view *store.View, in Input) (*key.Key, *key.Version, error) {
	p, err := decode[keyActivateParams](in)
	if err != nil {
		return nil, nil, err
	}
	k, err := keyRow(view, "key", p.Key)
	if err != nil {
		return nil, nil, err
	}
	v, err := versionRow(view, k, p.Version)
	return k, v, err
}

func (keyActivate) Execute(ctx context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	k, v, err := keyActivate{}.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	facts, err := activationFacts(ctx, env, tx.View(), k, in)
	if err != nil {
		return Result{}, err
	}
	active, err := bringIntoUse(act(env, tx, in, in.Reason), tx, k, v, facts)
	if err != nil {
		return Result{}, err
	}
	return changedResult(k, []*key.Version{active}), nil
}

// precedent is the governed decision that a version's dates rest on: the ceremony that made it.
func precedent(v *key.Version) string {
	if len(v.History) == 0 {
		return ""
	}
	return v.History[0].Ceremony
}
