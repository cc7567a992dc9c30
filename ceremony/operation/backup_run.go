package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/backup"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

type backupRunParams struct {
	Schedule string `json:"schedule"`
}

// backupRun makes one copy, under the decision that scheduled it. The file is written, read back and verified before
// it counts; the register knows each copy from then on until it is deleted.
type backupRun struct{}

func (backupRun) Name() string { return "backup.run" }

func (backupRun) read(view *store.View, in Input) (*backup.Schedule, *people.ShareSet, error) {
	p, err := decode[backupRunParams](in)
	if err != nil {
		return nil, nil, err
	}
	s, _, err := lookup[backup.Schedule](view, custodian.KindBackupSchedule, "schedule", p.Schedule, "backup schedule")
	if err != nil {
		return nil, nil, err
	}
	set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, s.ShareSet)
	if err != nil {
		return nil, nil, fmt.Errorf("reading share set %q: %w", s.ShareSet, err)
	}
	return s, set, nil
}

func (o backupRun) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	s, set, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "backup_schedule", ID: s.ID, GovRevision: s.GovRevision},
		Title:  fmt.Sprintf("Copy this instance to %s", s.Directory),
		Lines:  []Line{{Label: "schedule", After: s.ID}, {Label: "opens with", After: fmt.Sprintf("%d of %d shares of set %s, epoch %d", set.Threshold, set.Total, set.ID, s.Epoch)}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "backup_schedule", ID: s.ID}, Precedent: s.DecidedBy}}
	plan.Deny = append(unable(env, s.Directory), enough(view, s, in)...)
	if s.Status != backup.ScheduleActive {
		plan.Deny = append(plan.Deny, refusal("schedule_stopped", "schedule "+s.ID+" is stopped", "decide on it anew (backup.schedule)"))
	}
	if confirmed, need := confirmedOf(view, s), min(set.Total, set.Threshold+1); confirmed < need {
		plan.Deny = append(plan.Deny, refusal("shares_unconfirmed",
			fmt.Sprintf("%d of %d shares of set %s are confirmed, %d are needed: nobody may be able to open the copy", confirmed, set.Total, set.ID, need),
			"the holders confirm their shares (share.confirm)"))
	}
	return plan, nil
}

// enough refuses copies that people ask for beside the schedule once there are as many as the schedule keeps: they fill
// the directory.
func enough(view *store.View, s *backup.Schedule, in Input) []policies.Reason {
	if asker(in) == "" {
		return nil
	}
	_, extra := apart(Copies(view, s.ID, backup.CopyPresent))
	if len(extra) < s.Keep {
		return nil
	}
	return []policies.Reason{refusal("extra_copies", fmt.Sprintf("%s beside schedule %s %s there", amount.Of(len(extra), "copy"), s.ID, amount.Verb(len(extra), "is", "are")),
		fmt.Sprintf("a scheduled copy is made every %s and deletes those older than %s; or delete one by ceremony (backup.delete)", s.Interval(), s.Retention()))}
}

// asker is the person who asks for a copy; "" where the schedule brings it.
func asker(in Input) string {
	if in.Requester.Kind == identity.Human {
		return in.Requester.ID
	}
	return ""
}

// apart tells the copies that the schedule brought from those that people asked for.
func apart(copies []*backup.Copy) (scheduled, extra []*backup.Copy) {
	for _, c := range copies {
		if c.AskedBy == "" {
			scheduled = append(scheduled, c)
		} else {
			extra = append(extra, c)
		}
	}
	return scheduled, extra
}

func confirmedOf(view *store.View, s *backup.Schedule) int {
	n := 0
	for _, share := range shareRows(view, s.ShareSet) {
		if share.Epoch == s.Epoch && share.Status == people.ShareConfirmed {
			n++
		}
	}
	return n
}

func (o backupRun) copying(env Env, in Input, effectID string) (*copying, error) {
	if env.Copier == nil {
		return nil, errors.New("this process writes no backups")
	}
	view := env.Custodian.View()
	s, set, err := o.read(view, in)
	if err != nil {
		return nil, err
	}
	c := &copying{copier: env.Copier, env: env, in: in, id: effectID, schedule: s, set: set}
	for _, share := range shareRows(view, s.ShareSet) {
		if share.Epoch == s.Epoch {
			c.shares = append(c.shares, share)
		}
	}
	return c, nil
}

// Effect writes the file. It is found again by the effect's id, which is part of its name.
func (o backupRun) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	c, err := o.copying(env, in, effectID)
	if err != nil {
		return Effect{}, err
	}
	made, err := c.make(ctx)
	if err != nil {
		return Effect{}, err
	}
	return copied(made)
}

func copied(c *backup.Copy) (Effect, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return Effect{}, fmt.Errorf("encoding what was made: %w", err)
	}
	return Effect{ID: c.ID, Data: data}, nil
}

func madeOf(effect Effect) (*backup.Copy, error) {
	made := new(backup.Copy)
	if err := json.Unmarshal(effect.Data, made, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reading what was made: %w", err)
	}
	return made, nil
}

// Recover adopts a file that was finished before a crash, and takes away one that was not.
func (o backupRun) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	c, err := o.copying(env, in, effectID)
	if err != nil {
		return Effect{}, false, err
	}
	unlock, err := c.lock()
	if err != nil {
		return Effect{}, false, err
	}
	defer unlock()
	whole, err := c.find(ctx)
	if err != nil {
		return Effect{}, false, err
	}
	if whole == "" {
		return Effect{}, false, c.discard(ctx)
	}
	made, err := c.describe(ctx, whole)
	if err != nil {
		return Effect{}, false, err
	}
	effect, err := copied(made)
	return effect, true, err
}

func (o backupRun) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	made, err := madeOf(effect)
	if err != nil {
		return Result{}, err
	}
	s, _, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	made.At, made.AskedBy = a.at, asker(in)
	e := a.event("backup.run", ledger.Target{Type: "backup", ID: made.ID}, map[string]any{"schedule": made.Schedule, "file": made.File, "bytes": made.Bytes,
		"sha256": made.SHA256, "size": made.Size, "root": made.Root, "rows": made.Rows, "share_set": made.ShareSet, "epoch": made.Epoch, "key": made.KeyID})
	if err := a.put(tx, custodian.KindBackup, made.ID, made, e); err != nil {
		return Result{}, err
	}
	expired := []string{}
	if made.AskedBy == "" { // nobody makes older copies go by asking for new ones
		if expired, err = expire(a, tx, s); err != nil {
			return Result{}, err
		}
	}
	return result(map[string]any{"backup": made.ID, "file": made.File, "bytes": made.Bytes, "sha256": made.SHA256, "size": made.Size, "expired": expired}), nil
}

// maxExpire bounds what one run takes out of retention; the next run goes on.
const maxExpire = 32

// expire marks the copies that the schedule does not keep: of its own all but the newest, and those beside it once they
// are older than what it keeps reaches back. Their files are deleted afterwards.
func expire(a acting, tx *store.Tx, s *backup.Schedule) ([]string, error) {
	scheduled, extra := apart(Copies(tx.View(), s.ID, backup.CopyPresent))
	over := scheduled[min(len(scheduled), s.Keep):]
	for _, c := range extra {
		if a.at.Sub(c.At) > s.Retention() {
			over = append(over, c)
		}
	}
	out := []string{}
	for _, c := range over[:min(len(over), maxExpire)] {
		c.Status = backup.CopyExpired
		e := a.event("backup.expire", ledger.Target{Type: "backup", ID: c.ID}, map[string]any{"keep": s.Keep})
		if err := a.put(tx, custodian.KindBackup, c.ID, c, e); err != nil {
			return nil, err
		}
		out = append(out, c.ID)
	}
	return out, nil
}

// Copies are the registered copies of a schedule in a status, newest first; schedule "" for all.
func Copies(view *store.View, schedule string, status backup.CopyStatus) []*backup.Copy {
	var out []*backup.Copy
	for _, c := range store.All[backup.Copy](view, custodian.KindBackup) {
		if (schedule == "" || c.Schedule == schedule) && c.Status == status {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *backup.Copy) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.Size, a.Size)) })
	return out
}

// Undo removes a copy that could not be registered: nobody would know of it.
func (o backupRun) Undo(ctx context.Context, env Env, in Input, effect Effect) error {
	c, err := o.copying(env, in, effect.ID)
	if err != nil {
		return err
	}
	made, err := madeOf(effect)
	if err != nil {
		return err
	}
	return c.copier.remove(ctx, made.File)
}

// Stray removes a copy that this node wrote although another one made the copy that is on record.
func (o backupRun) Stray(ctx context.Context, env Env, in Input, effect Effect) error {
	kept, _, err := store.Get[backup.Copy](env.Custodian.View(), custodian.KindBackup, effect.ID)
	if made, unread := madeOf(effect); unread != nil || err == nil && kept.File == made.File && kept.Node == env.Custodian.Node() {
		return unread
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return o.Undo(ctx, env, in, effect)
}

// DueBackups finds the schedules whose next copy is due and can be made. It is due at once where the key is new, where a
// recovery has taken another way since the last one, and where this node has none: beside a copy the journal goes on.
func (j Jobs) DueBackups(view *store.View, now time.Time) []Scheduled {
	var out []Scheduled
	for _, s := range store.All[backup.Schedule](view, custodian.KindBackupSchedule) {
		set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, s.ShareSet)
		if err != nil || s.Status != backup.ScheduleActive || confirmedOf(view, s) < min(set.Total, set.Threshold+1) {
			continue
		}
		if j.copied(view, s, now) {
			continue
		}
		out = append(out, Scheduled{Operation: backupRun{}.Name(), Params: custodian.Detail(map[string]any{"schedule": s.ID}),
			Reason: fmt.Sprintf("scheduled: every %s", s.Interval())})
	}
	return out
}

// copied: there is a scheduled copy that is new enough, to the key in force, and one of this node.
func (j Jobs) copied(view *store.View, s *backup.Schedule, now time.Time) bool {
	recovered, _ := LastRecovery(view)
	all, _ := apart(Copies(view, s.ID, backup.CopyPresent))
	own := slices.DeleteFunc(all, func(c *backup.Copy) bool { return c.LeftBy != "" || recovered != nil && c.Size <= recovered.Size })
	return len(own) > 0 && now.Sub(own[0].At) < s.Interval() && own[0].KeyID == s.KeyID &&
		slices.ContainsFunc(own, func(c *backup.Copy) bool { return c.Node == j.Env.Custodian.Node() })
}

// LastRecovery is the newest recovery of this ledger; false for none.
func LastRecovery(view *store.View) (*backup.Recovery, bool) {
	var last *backup.Recovery
	for _, r := range store.All[backup.Recovery](view, custodian.KindRecovery) {
		if last == nil || r.Size > last.Size {
			last = r
		}
	}
	return last, last != nil
}
