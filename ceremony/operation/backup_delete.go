package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

type backupDeleteParams struct {
	Backup string `json:"backup"`
	Reason string `json:"reason"`
}

// backupDelete deletes a copy and attests that no other of the same file is left: from then on it
// no longer counts among the copies outstanding.
type backupDelete struct{}

func (backupDelete) Name() string { return "backup.delete" }

func (backupDelete) read(view *store.View, in Input) (*backup.Copy, string, error) {
	p, err := decode[backupDeleteParams](in)
	if err != nil {
		return nil, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, "", err
	}
	c, _, err := lookup[backup.Copy](view, custodian.KindBackup, "backup", p.Backup, "backup")
	return c, reason, err
}

func (o backupDelete) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	c, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "backup", ID: c.ID},
		Title: fmt.Sprintf("Delete backup %s; whoever approves attests that no other copy of the file is left", c.ID),
		Lines: []Line{{Label: "file", Before: c.File, After: "deleted"}, {Label: "ledger entries in it", After: fmt.Sprint(c.Size)},
			{Label: "made", After: c.At.Format(time.RFC3339)}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "backup", ID: c.ID}}}
	if c.Status == backup.CopyDeleted {
		plan.Deny = append(plan.Deny, refusal("already_deleted", "backup "+c.ID+" is deleted already", "nothing to do"))
	}
	if present := Copies(view, "", backup.CopyPresent); len(present) == 1 && present[0].ID == c.ID {
		plan.Deny = append(plan.Deny, refusal("last_copy", "it is the only copy of this instance", "make another first (backup.run)"))
	}
	return plan, nil
}

// Effect deletes the file. One that is gone already, or never was on this node, is as it should be.
func (o backupDelete) Effect(_ context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	c, _, err := o.read(env.Custodian.View(), in)
	if err != nil {
		return Effect{}, err
	}
	return Effect{ID: effectID}, RemoveCopy(c, false)
}

// Recover deletes again: deleting twice is deleting once.
func (o backupDelete) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.Effect(ctx, env, in, effectID, nil)
	return effect, err == nil, err
}

func (o backupDelete) Complete(_ context.Context, env Env, tx *store.Tx, in Input, _ Effect) (Result, error) {
	c, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	c.Status, c.GoneAt, c.GoneBy = backup.CopyDeleted, &a.at, in.Ceremony
	e := a.event("backup.delete", ledger.Target{Type: "backup", ID: c.ID}, map[string]any{"sha256": c.SHA256, "file": c.File})
	if err := a.put(tx, custodian.KindBackup, c.ID, c, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"backup": c.ID, "status": string(c.Status)}), nil
}

// Undo: there is none; the register shows the ceremony as indeterminate until its record is made.
func (backupDelete) Undo(context.Context, Env, Input, Effect) error { return errGone }
