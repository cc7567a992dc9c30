package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/hsm/secret"
)

// errGone: what was destroyed cannot be brought back.
var errGone = errors.New("destroyed key material cannot be brought back")

type keyDestroyParams struct {
	Key     string `json:"key"`
	Version uint32 `json:"version"`
	Reason  string `json:"reason"`
	Waiver  string `json:"waiver"` // who answers for data that is still under it, and why
}

// keyDestroy destroys the material of one version (T2, T13, T15; T5 and T9 for types that end so). Its
// metadata and history stay. It waits, cancellable by one person, for as long as the class of the key says.
type keyDestroy struct{}

func (keyDestroy) Name() string { return "key.destroy" }

func (keyDestroy) read(view *store.View, in Input) (p keyDestroyParams, k *key.Key, v *key.Version, err error) {
	if p, err = decode[keyDestroyParams](in); err != nil {
		return p, nil, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, nil, err
	}
	if err = key.CheckText("waiver", p.Waiver, maxReason, true); err != nil {
		return p, nil, nil, err
	}
	if k, err = keyRow(view, "key", p.Key); err != nil {
		return p, nil, nil, err
	}
	v, err = versionRow(view, k, p.Version)
	return p, k, v, err
}

// facts are what the guards of a destruction need. Ciphertexts are unseen by the service: that none depend on
// the version is what the register of assets says, or is signed for with a waiver.
func (p keyDestroyParams) facts(view *store.View, k *key.Key, v *key.Version, approvedAt, at time.Time) (key.Facts, error) {
	released, _, err := free(view, k, v, at)
	if err != nil {
		return key.Facts{}, err
	}
	released = released || p.Waiver != ""
	on, err := holdsOn(view, k, v)
	if err != nil {
		return key.Facts{}, err
	}
	holds, err := held(view, on...)
	if err != nil {
		return key.Facts{}, err
	}
	facts := key.Facts{NoDependents: released, Reprotected: released, NoLegalHold: len(holds) == 0, NeverUsed: neverActive(v), ApprovedAt: approvedAt}
	if v.Version != k.Current {
		current, err := versionRow(view, k, k.Current)
		if err != nil {
			return facts, err
		}
		facts.ReplacementActive = current.State == key.Active && current.Version > v.Version
	}
	return facts, nil
}

// holdsOn is what a legal hold would have to be on to keep a version from being destroyed: it, its key, data that is
// still under it whether or not that is waived, or the template that its key was made under.
func holdsOn(view *store.View, k *key.Key, v *key.Version) ([]oversight.Ref, error) {
	out := []oversight.Ref{{Type: oversight.HoldVersion, ID: key.VersionID(v.Key, v.Version)}}
	if k.Template != "" {
		out = append(out, oversight.Ref{Type: oversight.HoldTemplate, ID: k.Template})
	}
	assets, err := assetsOf(view, k.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range assets {
		if a.Outstanding(v.Version) > 0 {
			out = append(out, oversight.Ref{Type: oversight.HoldAsset, ID: a.ID})
		}
	}
	return out, nil
}

// neverActive: use is refused before activation, so a history without T4 shows that there was none.
func neverActive(v *key.Version) bool {
	for _, t := range v.History {
		if t.To == key.Active {
			return false
		}
	}
	return true
}

func (o keyDestroy) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, k, v, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	consequence := "what is under it can never be read again"
	if v.PublicHalfVerifies() {
		consequence = "it never signs again; what it signed can still be verified"
	}
	plan := Plan{Target: versionTarget(v), Title: fmt.Sprintf("Destroy version %d of key %s: %s", v.Version, k.ID, consequence),
		Quorum: keyQuorum(k),
		Lines: []Line{keyLine(k), stateLine(v, "destroyed: material gone, history kept"),
			{Label: "check value", After: v.CheckValue}, {Label: "reason", After: p.Reason}}}
	if p.Waiver != "" {
		plan.Lines = append(plan.Lines, Line{Label: "waiver for data still under it", After: p.Waiver})
	}
	_, missing, err := free(view, k, v, in.Now)
	if err != nil {
		return Plan{}, err
	}
	for _, m := range missing {
		plan.Lines = append(plan.Lines, Line{Label: "data under it", Before: m})
	}
	approved := in.ApprovedAt
	if approved.IsZero() { // not yet approved: the wait still to come is no refusal
		approved = in.Now.Add(-key.MinDestroyWait)
	}
	facts, err := p.facts(view, k, v, approved, in.Now)
	if err != nil {
		return Plan{}, err
	}
	on, err := holdsOn(view, k, v)
	if err != nil {
		return Plan{}, err
	}
	if plan.Deny, err = onHold(view, on...); len(plan.Deny) > 0 || err != nil {
		return plan, err
	}
	_, err = moveTo(v, key.Destroyed, foresee(in, p.Reason), facts)
	plan.Deny, err = refusals(err)
	return plan, err
}

// Effect destroys the material in the keystore. All guards are judged once more before: this is the step
// that nothing undoes.
func (o keyDestroy) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	view := env.Custodian.View()
	p, k, v, err := o.read(view, in)
	if err != nil {
		return Effect{}, err
	}
	if v.State == key.Destroyed { // by another ceremony at the same time: what was wanted is so
		return Effect{ID: effectID}, nil
	}
	facts, err := p.facts(view, k, v, in.ApprovedAt, in.Now)
	if err != nil {
		return Effect{}, err
	}
	if _, err := moveTo(v, key.Destroyed, foresee(in, p.Reason), facts); err != nil {
		return Effect{}, err
	}
	driver, err := Current(env, v.Keystore)
	if err != nil {
		return Effect{}, err
	}
	if err := driver.Destroy(ctx, v.Material); err != nil {
		return Effect{}, fmt.Errorf("destroying %s in keystore %s: %w", key.VersionID(k.ID, v.Version), v.Keystore, err)
	}
	return Effect{ID: effectID}, nil
}

// Recover runs the effect again: destroying twice is destroying once.
func (o keyDestroy) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.Effect(ctx, env, in, effectID, nil)
	return effect, err == nil, err
}

func (o keyDestroy) Complete(_ context.Context, env Env, tx *store.Tx, in Input, _ Effect) (Result, error) {
	p, k, v, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	if v.State == key.Destroyed {
		e := a.event("key.destroy", keyEventTarget(v), map[string]any{"already": true})
		return changedResult(k, []*key.Version{v}), tx.Append(e)
	}
	facts, err := p.facts(tx.View(), k, v, in.ApprovedAt, in.Now)
	if err != nil {
		return Result{}, err
	}
	late := !facts.NoLegalHold // set while the keystore destroyed: the record says what is so
	facts.NoLegalHold = true
	next, err := moveTo(v, key.Destroyed, a, facts)
	if err != nil {
		return Result{}, err
	}
	env.Custodian.Forget(k.ID, v.Version)
	detail := map[string]any{"from": string(v.State), "check_value": v.CheckValue, "keystore": v.Keystore}
	if p.Waiver != "" {
		detail["waiver"] = p.Waiver
	}
	if late {
		detail["hold_set_meanwhile"] = true
	}
	changed := []*key.Version{next}
	return changedResult(k, changed), putChanged(a, tx, "key.destroy", k, changed, detail)
}

// Undo: there is none. The ceremony is shown as indeterminate until its record is made.
func (keyDestroy) Undo(context.Context, Env, Input, Effect) error { return errGone }
