package operation

import (
	"context"
	"errors"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm/checkvalue"
	"conclave/hsm/secret"
	"conclave/policies"
)

type keyImportConfirmParams struct {
	Key        string `json:"key"`
	Version    uint32 `json:"version"`
	CheckValue string `json:"check_value"` // as the sender states it
}

// keyImportConfirm is the second person, who compares the check value of an imported version with the one that they
// have from its sender. With it the version can be used.
type keyImportConfirm struct{}

func (keyImportConfirm) Name() string { return "key.import-confirm" }

func (keyImportConfirm) read(view *store.View, in Input) (k *key.Key, v *key.Version, given string, err error) {
	p, err := decode[keyImportConfirmParams](in)
	if err != nil {
		return nil, nil, "", err
	}
	if given, err = parseCheck("check_value", p.CheckValue); err != nil {
		return nil, nil, "", err
	}
	if k, err = keyRow(view, "key", p.Key); err != nil {
		return nil, nil, "", err
	}
	v, err = versionRow(view, k, p.Version)
	return k, v, given, err
}

// undecided refuses what is no import that waits for its second person.
func undecided(v *key.Version) []policies.Reason {
	switch {
	case v.Import == nil:
		return []policies.Reason{refusal("not_imported", fmt.Sprintf("version %d of key %s was generated here", v.Version, v.Key), "nothing to do")}
	case !v.Unconfirmed():
		return []policies.Reason{refusal("import_confirmed", fmt.Sprintf("%s confirmed the check value of version %d of key %s", v.Import.ConfirmedBy, v.Version, v.Key), "nothing to do")}
	case v.State != key.PreActivation:
		return []policies.Reason{refusal("import_ended", fmt.Sprintf("version %d of key %s is %s", v.Version, v.Key, v.State), "import it anew")}
	}
	return nil
}

func importPlan(k *key.Key, v *key.Version, title, after string) Plan {
	return Plan{Target: versionTarget(v), Title: title, Quorum: keyQuorum(k),
		Lines: []Line{keyLine(k), {Label: "origin", After: v.Origin()}, stateLine(v, after), {Label: "check value", After: v.CheckValue}}}
}

func (o keyImportConfirm) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	k, v, given, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := importPlan(k, v, fmt.Sprintf("Confirm that version %d of key %s is the key that was sent: check value %s", v.Version, k.ID, given), "active, from its date on")
	if plan.Deny = undecided(v); len(plan.Deny) > 0 {
		return plan, nil
	}
	if in.Requester.Kind == identity.Human && in.Requester.ID == v.Import.By {
		plan.Deny = append(plan.Deny, refusal("second_person", in.Requester.ID+" asked for the import", "somebody else compares the check value"))
	}
	if !checkvalue.Match(v.CheckValue, given) {
		reason := differs(v.CheckValue, given)
		reason.Remedy = "read it again; if it does differ, report it (key.import-reject): the import ends and the material is destroyed"
		plan.Deny = append(plan.Deny, reason)
	}
	return plan, nil
}

func (o keyImportConfirm) Execute(ctx context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	k, v, given, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	v = v.Confirmed(in.Requester.ID, in.Ceremony, a.at)
	e := a.event(o.Name(), keyEventTarget(v), map[string]any{"check_value": v.CheckValue, "compared_with": given, "origin": v.Origin(), "import": v.Import.Ceremony})
	if err := a.put(tx, custodian.KindKeyVersion, key.VersionID(v.Key, v.Version), v, e); err != nil {
		return Result{}, err
	}
	out := map[string]any{"key": k.ID, "version": v.Version, "state": string(v.State), "check_value": v.CheckValue}
	current, err := versionRow(tx.View(), k, k.Current)
	switch {
	case err != nil:
		return Result{}, err
	case v.ActivationAt.After(a.at):
		return result(out), nil
	case current.State == key.Suspended: // one person does not release what was suspended
		out["not_activated"] = fmt.Sprintf("version %d of the key is suspended", current.Version)
		return result(out), nil
	}
	if err := activateNow(ctx, env, tx, a, in, k, v, out); err != nil {
		return Result{}, err
	}
	return result(out), nil
}

type keyImportRejectParams struct {
	Key     string `json:"key"`
	Version uint32 `json:"version"`
	Reason  string `json:"reason"`
}

// keyImportReject ends an import whose check value is not the one that was sent: the material, which was never used,
// is destroyed (T2).
type keyImportReject struct{}

func (keyImportReject) Name() string { return "key.import-reject" }

func (keyImportReject) read(view *store.View, in Input) (k *key.Key, v *key.Version, reason string, err error) {
	p, err := decode[keyImportRejectParams](in)
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

func (o keyImportReject) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	k, v, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := importPlan(k, v, fmt.Sprintf("End the import of version %d of key %s and destroy its material", v.Version, k.ID), "destroyed: it was never used")
	plan.Lines = append(plan.Lines, Line{Label: "reason", After: reason})
	if plan.Deny = undecided(v); len(plan.Deny) > 0 {
		return plan, nil
	}
	on, err := holdsOn(view, k, v)
	if err != nil {
		return Plan{}, err
	}
	plan.Deny, err = onHold(view, on...)
	return plan, err
}

func (o keyImportReject) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	_, v, _, err := o.read(env.Custodian.View(), in)
	if err != nil {
		return Effect{}, err
	}
	if v.State == key.Destroyed { // by another ceremony at the same time: what was wanted is so
		return Effect{ID: effectID}, nil
	}
	if against := undecided(v); len(against) > 0 { // confirmed meanwhile: it is not destroyed by one person
		return Effect{}, errors.New(against[0].Message)
	}
	driver, err := Current(env, v.Keystore)
	if err != nil {
		return Effect{}, err
	}
	if err := driver.Destroy(ctx, v.Material); err != nil {
		return Effect{}, fmt.Errorf("destroying %s in keystore %s: %w", key.VersionID(v.Key, v.Version), v.Keystore, err)
	}
	return Effect{ID: effectID}, nil
}

// Recover runs the effect again: destroying twice is destroying once.
func (o keyImportReject) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.Effect(ctx, env, in, effectID, nil)
	return effect, err == nil, err
}

func (o keyImportReject) Complete(_ context.Context, env Env, tx *store.Tx, in Input, _ Effect) (Result, error) {
	k, v, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	if v.State == key.Destroyed {
		e := a.event(o.Name(), keyEventTarget(v), map[string]any{"already": true})
		return changedResult(k, []*key.Version{v}), tx.Append(e)
	}
	next, err := moveTo(v, key.Destroyed, a, key.Facts{NeverUsed: neverActive(v)})
	if err != nil {
		return Result{}, err
	}
	env.Custodian.Forget(k.ID, v.Version)
	changed := []*key.Version{next}
	return changedResult(k, changed), putChanged(a, tx, o.Name(), k, changed, map[string]any{"from": string(v.State), "check_value": v.CheckValue, "keystore": v.Keystore, "origin": v.Origin()})
}

// Undo: there is none. The ceremony is shown as indeterminate until its record is made.
func (keyImportReject) Undo(context.Context, Env, Input, Effect) error { return errGone }
