package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/store"
)

// readVersion reads the version that parameters name, and the reason given.
func readVersion(view *store.View, in Input) (k *key.Key, v *key.Version, reason string, err error) {
	p, err := decode[versionParams](in)
	if err != nil {
		return nil, nil, "", err
	}
	if reason, err = why("reason", p.Reason, in); err != nil {
		return nil, nil, "", err
	}
	if k, err = keyRow(view, "key", p.Key); err != nil {
		return nil, nil, "", err
	}
	v, err = versionRow(view, k, p.Version)
	return k, v, reason, err
}

// moveTo applies the one transition that leads a version to another state.
func moveTo(v *key.Version, to key.State, a acting, facts key.Facts) (*key.Version, error) {
	if v.State == to { // the table joins destroyed to itself: an annotation, not a destruction
		return nil, &key.TransitionError{Code: key.CodeNoChange, Version: key.VersionID(v.Key, v.Version), From: v.State, To: to,
			Detail: "the version is in this state already"}
	}
	rule, err := key.Between(v.State, to)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key.VersionID(v.Key, v.Version), err)
	}
	return v.Apply(a.transition(rule.ID), facts)
}

// executeMove stores the version after the transition to a state.
func executeMove(env Env, tx *store.Tx, in Input, kind string, to key.State, facts key.Facts) (Result, error) {
	k, v, reason, err := readVersion(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	next, err := moveTo(v, to, a, facts)
	if err != nil {
		return Result{}, err
	}
	changed := []*key.Version{next}
	return changedResult(k, changed), putChanged(a, tx, kind, k, changed, map[string]any{"from": string(v.State)})
}

// compromised is the version marked compromised: by the transition from its state, or, where it is destroyed, by the
// annotation that it was compromised before (A1), which changes neither state nor material.
func compromised(v *key.Version, a acting) (*key.Version, error) {
	if v.State != key.Destroyed || v.CompromisedBeforeDestroy {
		return moveTo(v, key.Compromised, a, key.Facts{})
	}
	return v.Apply(a.transition("A1"), key.Facts{})
}

// keyCompromise marks a version compromised, for good (T3, T6, T11, T14; A1 for one that is destroyed).
type keyCompromise struct{}

func (keyCompromise) Name() string { return "key.compromise" }

func (keyCompromise) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	k, v, reason, err := readVersion(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: versionTarget(v), Title: fmt.Sprintf("Mark version %d of key %s compromised, for good", v.Version, k.ID), Quorum: keyQuorum(k),
		Lines: []Line{keyLine(k), stateLine(v, "compromised: protects and processes nothing any more"), {Label: "reason", After: reason},
			{Label: "follows", After: reprotects()}}}
	if v.State == key.Destroyed {
		plan.Title = fmt.Sprintf("Note for good that version %d of key %s was compromised before it was destroyed", v.Version, k.ID)
		plan.Lines = []Line{keyLine(k), stateLine(v, "destroyed, and known to have been compromised before"), {Label: "reason", After: reason},
			{Label: "follows", After: "what was protected under it counts as disclosed (conclave key exposure)"}}
	}
	_, err = compromised(v, foresee(in, reason))
	plan.Deny, err = refusals(err)
	return plan, err
}

func (keyCompromise) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	k, v, reason, err := readVersion(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a, from := act(env, tx, in, reason), v.State
	if v, err = compromised(v, a); err != nil {
		return Result{}, err
	}
	if err := putChanged(a, tx, "key.compromise", k, []*key.Version{v}, map[string]any{"from": string(from)}); err != nil {
		return Result{}, err
	}
	if from == key.Destroyed { // nothing under it can be read here any more
		return changedResult(k, []*key.Version{v}), nil
	}
	campaign, err := campaignFor(a, tx, v, in, "")
	if err != nil {
		return Result{}, err
	}
	return result(map[string]any{"key": k.ID, "versions": map[string]string{fmt.Sprint(v.Version): string(v.State)}, "campaign": campaign}), nil
}

// keyDeactivate ends a version's protecting, for good (T8, T12); it processes until its recipient usage
// period ends. Where a node asks, the end of the usage period has come, and the ceremony that set it is cited.
type keyDeactivate struct{}

func (keyDeactivate) Name() string { return "key.deactivate" }

func (keyDeactivate) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	k, v, reason, err := readVersion(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: versionTarget(v), Title: fmt.Sprintf("Deactivate version %d of key %s, for good", v.Version, k.ID), Quorum: keyQuorum(k),
		Lines: []Line{keyLine(k), stateLine(v, "deactivated: processes until "+v.RUPEnd.Format(time.DateOnly)), {Label: "reason", After: reason}}}
	if v.Version == k.Current {
		plan.Lines = append(plan.Lines, Line{Label: "consequence", After: "the key has no version that protects; rotating keeps it in use"})
	}
	if id, due := v.Due(in.Now); in.Requester.Kind == identity.Node && due && id == "T8" {
		plan.Quorum.Precedent = precedent(v)
	}
	_, err = moveTo(v, key.Deactivated, foresee(in, reason), key.Facts{})
	plan.Deny, err = refusals(err)
	return plan, err
}

func (keyDeactivate) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	return executeMove(env, tx, in, "key.deactivate", key.Deactivated, key.Facts{})
}
