package operation

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

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
	// Gone attests that the file was destroyed otherwise, or with what it lay on: nothing is looked for.
	Gone bool `json:"gone"`
}

// backupDelete deletes a copy and attests that no other of the same file is left: from then on it
// no longer counts among the copies outstanding. A file that another node wrote is deleted by that node.
type backupDelete struct{}

func (backupDelete) Name() string { return "backup.delete" }

func (backupDelete) read(view *store.View, in Input) (p backupDeleteParams, c *backup.Copy, err error) {
	if p, err = decode[backupDeleteParams](in); err != nil {
		return p, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, err
	}
	c, _, err = lookup[backup.Copy](view, custodian.KindBackup, "backup", p.Backup, "backup")
	return p, c, err
}

func (o backupDelete) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, c, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	after := "deleted by node " + c.Node
	if p.Gone {
		after = "destroyed otherwise, as whoever approves attests: nothing is looked for"
	}
	plan := Plan{Target: Target{Type: "backup", ID: c.ID},
		Title: fmt.Sprintf("Delete backup %s; whoever approves attests that no other copy of the file is left", c.ID),
		Lines: []Line{{Label: "file", Before: c.File, After: after}, {Label: "ledger entries in it", After: fmt.Sprint(c.Size)},
			{Label: "made", After: c.At.Format(time.RFC3339)}, {Label: "reason", After: p.Reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "backup", ID: c.ID}}}
	if c.Status == backup.CopyDeleted {
		plan.Deny = append(plan.Deny, refusal("already_deleted", "backup "+c.ID+" is deleted already", "nothing to do"))
	}
	if present := Copies(view, "", backup.CopyPresent); len(present) == 1 && present[0].ID == c.ID {
		plan.Deny = append(plan.Deny, refusal("last_copy", "it is the only copy of this instance", "make another first (backup.run)"))
	}
	return plan, nil
}

// deletion is what came of it.
type deletion struct {
	// Deferred: the node that wrote the file has to delete it, and records that.
	Deferred bool `json:"deferred"`
}

// Effect deletes the file where this node wrote it. One that is not where it should be is gone only where this node can
// tell: see [Copier.Writes].
func (o backupDelete) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	return o.delete(ctx, env, in, effectID, false)
}

func (o backupDelete) delete(ctx context.Context, env Env, in Input, effectID string, again bool) (Effect, error) {
	view, node := env.Custodian.View(), env.Custodian.Node()
	p, c, err := o.read(view, in)
	if err != nil {
		return Effect{}, err
	}
	reaches := env.Copier.Reaches(node, c)
	d := deletion{Deferred: !p.Gone && !reaches}
	if reaches {
		gone, err := env.Copier.RemoveCopy(ctx, c, false)
		if err != nil {
			return Effect{}, err
		}
		if !gone && !again && !p.Gone && !env.Copier.Writes(ctx, view, node, c) {
			return Effect{}, fmt.Errorf("%s is not there, and this node does not write backups there now: bring the directory back, or propose it as gone, which whoever approves attests", c.File)
		}
	}
	data, err := json.Marshal(d)
	return Effect{ID: effectID, Data: data}, err
}

// Recover deletes again: deleting twice is deleting once, and the intent is on record.
func (o backupDelete) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.delete(ctx, env, in, effectID, true)
	return effect, err == nil, err
}

func (o backupDelete) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	var d deletion
	if err := json.Unmarshal(effect.Data, &d, json.RejectUnknownMembers(true)); err != nil {
		return Result{}, fmt.Errorf("reading what was done: %w", err)
	}
	p, c, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	detail := map[string]any{"sha256": c.SHA256, "file": c.File, "gone": p.Gone}
	event := "backup.delete"
	c.Status, c.GoneAt, c.GoneBy = backup.CopyDeleted, &a.at, in.Ceremony
	if d.Deferred {
		event, c.Status, c.GoneAt, detail["node"] = "backup.expire", backup.CopyExpired, nil, c.Node
	}
	if err := a.put(tx, custodian.KindBackup, c.ID, c, a.event(event, ledger.Target{Type: "backup", ID: c.ID}, detail)); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"backup": c.ID, "status": string(c.Status), "node": c.Node}), nil
}

// Undo: there is none; the register shows the ceremony as indeterminate until its record is made.
func (backupDelete) Undo(context.Context, Env, Input, Effect) error { return errGone }
