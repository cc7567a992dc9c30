package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

type keyRotateParams struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// keyRotate makes a new version that protects from now on; earlier versions go on processing. A person asks
// for it, or this node does when the schedule that was set with the key is due.
type keyRotate struct{}

func (keyRotate) Name() string { return "key.rotate" }

func (keyRotate) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, err := decode[keyRotateParams](in)
	if err != nil {
		return Plan{}, err
	}
	if _, err := why("reason", p.Reason, in); err != nil {
		return Plan{}, err
	}
	k, err := keyRow(view, "key", p.Key)
	if err != nil {
		return Plan{}, err
	}
	current, err := versionRow(view, k, k.Current)
	if err != nil {
		return Plan{}, err
	}
	newest, err := versionRow(view, k, k.Versions)
	if err != nil {
		return Plan{}, err
	}
	next := k.Versions + 1
	plan := Plan{Target: keyTarget(k), Title: fmt.Sprintf("Rotate key %s: version %d protects from now on", k.ID, next), Quorum: keyQuorum(k),
		Lines: []Line{keyLine(k),
			stateLine(current, "deactivated: processes until "+current.RUPEnd.Format(time.DateOnly)),
			{Label: fmt.Sprintf("version %d", next), After: "active: " + describePeriods(k.OUPDays, k.RUPDays, k.RotateDays)}}}
	if in.Requester.Kind == identity.Node && current.RotationDue(k, in.Now) {
		plan.Quorum.Precedent = k.CreatedBy
	}
	record, err := keystoreRow(view, "keystore", k.Keystore)
	if err != nil {
		return Plan{}, err
	}
	k.Origin = key.OriginGenerated
	misfits, err := misplaced(ctx, env, view, k)
	if err != nil {
		return Plan{}, err
	}
	plan.Deny = append(notRotatable(k, current, newest), misfits...)
	plan.Deny = append(plan.Deny, inactive(env, record)...)
	return plan, nil
}

// notRotatable refuses rotation away from any state but active, and while the version made last is still to
// come into use.
func notRotatable(k *key.Key, current, newest *key.Version) []policies.Reason {
	if current.State.RotatesFrom() {
		if newest.State != key.PreActivation {
			return nil
		}
		return []policies.Reason{refusal("version_pending", fmt.Sprintf("version %d of key %s is made and not yet active", newest.Version, k.ID),
			"activate it (key.activate), or destroy it (key.destroy)")}
	}
	remedy := "create a new key and protect its data anew"
	switch current.State {
	case key.Suspended:
		remedy = "resume the key first (key.resume)"
	case key.PreActivation:
		if remedy = "wait for its activation"; current.Unconfirmed() {
			remedy = "have its check value confirmed (key.import-confirm), or the import ended (key.import-reject)"
		}
	}
	return []policies.Reason{refusal("not_rotatable", fmt.Sprintf("version %d of key %s is %s; only an active version is rotated from", current.Version, k.ID, current.State), remedy)}
}

func (keyRotate) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	p, err := decode[keyRotateParams](in)
	if err != nil {
		return Effect{}, err
	}
	k, err := keyRow(env.Custodian.View(), "key", p.Key)
	if err != nil {
		return Effect{}, err
	}
	return makeMaterial(ctx, env, k, k.Versions+1, effectID)
}

func (keyRotate) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	p, err := decode[keyRotateParams](in)
	if err != nil {
		return Effect{}, false, err
	}
	k, err := keyRow(env.Custodian.View(), "key", p.Key)
	if err != nil {
		return Effect{}, false, err
	}
	return findMaterialOf(ctx, env, k, effectID)
}

func (keyRotate) Complete(ctx context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	p, err := decode[keyRotateParams](in)
	if err != nil {
		return Result{}, err
	}
	k, err := keyRow(tx.View(), "key", p.Key)
	if err != nil {
		return Result{}, err
	}
	current, err := versionRow(tx.View(), k, k.Current)
	if err != nil {
		return Result{}, err
	}
	newest, err := versionRow(tx.View(), k, k.Versions)
	if err != nil {
		return Result{}, err
	}
	if against := notRotatable(k, current, newest); len(against) > 0 {
		return Result{}, fmt.Errorf("rotating key %s: %s", k.ID, against[0].Message)
	}
	driver, err := driverOf(env, tx.View(), k.Keystore)
	if err != nil {
		return Result{}, err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return Result{}, err
	}
	// Material made for another number, because another rotation came first, is refused here.
	v, err := newVersion(act(env, tx, in, reason), driver, k, k.Versions+1, effect, time.Time{})
	if err != nil {
		return Result{}, err
	}
	k.GovRevision++
	k.Origin = key.OriginGenerated
	return recordMade(ctx, env, tx, in, "key.rotate", k, v)
}

func (keyRotate) Undo(ctx context.Context, env Env, in Input, effect Effect) error {
	p, err := decode[keyRotateParams](in)
	if err != nil {
		return err
	}
	k, _, err := store.Get[key.Key](env.Custodian.View(), custodian.KindKey, p.Key)
	if err != nil {
		return fmt.Errorf("reading key %q: %w", p.Key, err)
	}
	return destroyMaterial(ctx, env, k.Keystore, effect)
}
