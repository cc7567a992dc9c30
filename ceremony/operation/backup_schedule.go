package operation

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/go-json-experiment/json"

	"conclave/ceremony/issue"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/backup"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

type backupScheduleParams struct {
	ID           string `json:"id"`
	Directory    string `json:"directory"`
	EveryMinutes int    `json:"every_minutes"`
	Keep         int    `json:"keep"`
	// ShareSet makes a new backup key and hands its shares out. A schedule that is altered without one keeps its key.
	ShareSet *shareSetParams `json:"share_set"`
	Stop     bool            `json:"stop"` // no more copies; those that exist stay
}

// backupSchedule decides where copies of the instance go, how often, how many stay, and who together can open them.
// The private half of the backup key exists only while it is split; each new key is a new epoch of the set, and what
// was encrypted to an earlier one is opened with the shares of that epoch, which stand in each copy.
type backupSchedule struct{}

func (backupSchedule) Name() string { return "backup.schedule" }

// planned is what the parameters ask for: the schedule as it will stand, without its key where one is to be made.
type planned struct {
	params   backupScheduleParams
	before   *backup.Schedule // nil for a new one
	schedule *backup.Schedule
	set      *people.ShareSet // to be made; nil where the key stays
	old      *people.ShareSet // the one whose place it takes; nil for a first
}

func (backupSchedule) read(view *store.View, in Input) (*planned, error) {
	p, err := decode[backupScheduleParams](in)
	if err != nil {
		return nil, err
	}
	if err := key.CheckID("id", p.ID); err != nil {
		return nil, err
	}
	out := &planned{params: p, schedule: &backup.Schedule{ID: p.ID, Status: backup.ScheduleActive}}
	before, _, err := store.Get[backup.Schedule](view, custodian.KindBackupSchedule, p.ID)
	switch {
	case err == nil:
		out.before = before
		*out.schedule = *before
		out.schedule.Status = backup.ScheduleActive
	case !errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("reading schedule %q: %w", p.ID, err)
	}
	s := out.schedule
	if p.Directory != "" {
		s.Directory = p.Directory
	}
	if p.EveryMinutes != 0 {
		s.EveryMinutes = p.EveryMinutes
	}
	if p.Keep != 0 {
		s.Keep = p.Keep
	}
	if p.Stop {
		s.Status = backup.ScheduleStopped
	}
	if err := out.readSet(view); err != nil {
		return nil, err
	}
	s.GovRevision++
	return out, s.Validate()
}

// readSet checks the share set that is to be made.
func (o *planned) readSet(view *store.View) error {
	p := o.params.ShareSet
	if p == nil {
		if o.before == nil {
			return &custodian.InputError{Field: "share_set", Problem: "missing", Allowed: "id, threshold and holders: who together open the backups of a new schedule"}
		}
		return nil
	}
	o.set = &people.ShareSet{ID: p.ID, Purpose: people.PurposeBackup, Threshold: p.Threshold, Total: len(p.Holders), Epoch: 1,
		Scheme: shamir.Scheme, Module: shamir.Module}
	if o.before != nil && o.before.ShareSet == p.ID {
		var err error
		o.old, _, err = store.Get[people.ShareSet](view, custodian.KindShareSet, p.ID)
		if err != nil {
			return fmt.Errorf("reading share set %q: %w", p.ID, err)
		}
		o.set.Epoch = o.old.NextEpoch()
	} else if err := vacant(view, custodian.KindShareSet, "share_set.id", p.ID, "share set"); err != nil {
		return err
	}
	o.schedule.ShareSet, o.schedule.Epoch = o.set.ID, o.set.Epoch
	return key.First([]error{
		within("share_set", o.set.Validate()),
		within("share_set", checkHolders(view, o.set, p.Holders)),
	})
}

func (o backupSchedule) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	s := p.schedule
	title := fmt.Sprintf("Copy this instance to %s every %s; %s %s", s.Directory, s.Interval(), amount.Of(s.Keep, "copy"), amount.Verb(s.Keep, "stays", "stay"))
	if s.Status == backup.ScheduleStopped {
		title = fmt.Sprintf("Stop the copies of schedule %s; those that exist stay", s.ID)
	}
	plan := Plan{Target: Target{Type: "backup_schedule", ID: s.ID}, Title: title,
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "backup_schedule", ID: s.ID}}}
	old := &backup.Schedule{}
	if p.before != nil {
		old, plan.Target.GovRevision = p.before, p.before.GovRevision
	}
	plan.Lines = []Line{
		{Label: "status", Before: old.Status, After: s.Status},
		{Label: "directory", Before: old.Directory, After: s.Directory},
		{Label: "every", Before: words(p.before), After: s.Interval().String()},
		{Label: "copies that stay", Before: count(old.Keep), After: count(s.Keep)},
	}
	if s.Status == backup.ScheduleActive {
		plan.Deny = noObjects(env, s.Directory)
	}
	if p.set != nil {
		plan.Deny = append(plan.Deny, strongHolders(view, p.old, p.set, p.params.ShareSet.Holders)...)
		plan.Lines = append(plan.Lines,
			Line{Label: "backup key", Before: old.KeyID, After: fmt.Sprintf("a new one: %d of %d shares of set %s, epoch %d, open what is copied from now on", p.set.Threshold, p.set.Total, p.set.ID, p.set.Epoch)},
			Line{Label: "holders", After: list(p.params.ShareSet.Holders)})
	}
	return plan, nil
}

func words(s *backup.Schedule) string {
	if s == nil {
		return ""
	}
	return s.Interval().String()
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// scheduled is what the effect leaves for the record: nothing in it is secret.
type scheduled struct {
	Key    *jwk.Key         `json:"key,omitempty"`
	Set    *people.ShareSet `json:"set,omitempty"`
	Shares []people.Share   `json:"shares,omitempty"`
}

// Effect makes the backup key, hands out its private half and forgets it. Nothing is stored outside the database.
func (o backupSchedule) Effect(_ context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	view := env.Custodian.View()
	p, err := o.read(view, in)
	if err != nil {
		return Effect{}, err
	}
	var made scheduled
	if p.set != nil {
		if made, err = p.makeKey(view, in); err != nil {
			return Effect{}, err
		}
	}
	data, err := json.Marshal(made)
	if err != nil {
		return Effect{}, fmt.Errorf("encoding what was made: %w", err)
	}
	return Effect{ID: effectID, Data: data}, nil
}

func (o *planned) makeKey(view *store.View, in Input) (scheduled, error) {
	pair, err := shamir.NewOpeningKey()
	if err != nil {
		return scheduled{}, fmt.Errorf("making the backup key: %w", err)
	}
	defer pair.Wipe()
	order := issue.Order{Set: o.set.ID, Purpose: people.PurposeBackup, Epoch: o.set.Epoch, Threshold: o.set.Threshold,
		RNG: "crypto/rand of " + runtime.Version(), At: in.Now}
	find := register(view)
	for _, id := range o.params.ShareSet.Holders {
		order.Holders = append(order.Holders, find(id))
	}
	issued, err := issue.Shares(pair.Scalar(), order)
	if err != nil {
		return scheduled{}, fmt.Errorf("issuing shares: %w", err)
	}
	public := pair.Public()
	return scheduled{Key: &public, Set: &issued.Set, Shares: issued.Shares}, nil
}

func (backupSchedule) Recover(context.Context, Env, Input, string) (Effect, bool, error) {
	return Effect{}, false, nil
}

func (o backupSchedule) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	var made scheduled
	if err := json.Unmarshal(effect.Data, &made, json.RejectUnknownMembers(true)); err != nil {
		return Result{}, fmt.Errorf("reading what was made: %w", err)
	}
	p, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	s := p.schedule
	s.DecidedBy = in.Ceremony
	if p.before == nil {
		s.CreatedAt = a.at
	}
	if p.set != nil {
		if made.Key == nil || made.Set == nil || made.Set.Epoch != p.set.Epoch {
			return Result{}, errors.New("the backup key was made for another epoch of its share set")
		}
		raw, err := made.Key.JSON()
		if err != nil {
			return Result{}, err
		}
		s.Key, s.KeyID = raw, made.Key.Thumbprint()
		if err := made.record(a, tx); err != nil {
			return Result{}, err
		}
	}
	e := a.event("backup.schedule", ledger.Target{Type: "backup_schedule", ID: s.ID}, map[string]any{"directory": s.Directory,
		"every_minutes": s.EveryMinutes, "keep": s.Keep, "share_set": s.ShareSet, "epoch": s.Epoch, "key": s.KeyID, "status": s.Status})
	if err := a.put(tx, custodian.KindBackupSchedule, s.ID, s, e); err != nil {
		return Result{}, err
	}
	out := map[string]any{"schedule": s.ID, "status": s.Status, "share_set": s.ShareSet, "epoch": s.Epoch}
	if p.set != nil {
		out["confirm"] = fmt.Sprintf("%d holders confirm their shares before the first copy is made", min(p.set.Total, p.set.Threshold+1))
	}
	return result(out), nil
}

// record stores a set that was just made and its shares.
func (made *scheduled) record(a acting, tx *store.Tx) error {
	set := made.Set
	set.IssuedAt = a.at
	old, _, err := store.Get[people.ShareSet](tx.View(), custodian.KindShareSet, set.ID)
	if err == nil { // its shares open the copies that were made before
		set.Past = append(slices.Clone(old.Past), people.PastEpoch{Epoch: old.Epoch, Threshold: old.Threshold, Total: old.Total,
			IssuedAt: old.IssuedAt, SupersededAt: a.at, SupersededBy: a.ceremony})
	} else if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("reading share set %q: %w", set.ID, err)
	}
	err = a.put(tx, custodian.KindShareSet, set.ID, set, a.event("shareset.create", ledger.Target{Type: "share_set", ID: set.ID},
		map[string]any{"purpose": set.Purpose, "threshold": set.Threshold, "total": set.Total, "epoch": set.Epoch, "scheme": set.Scheme, "rng": set.RNG, "module": set.Module}))
	if err != nil {
		return err
	}
	for i := range made.Shares {
		s := &made.Shares[i]
		s.IssuedAt = a.at
		id := people.ShareID(s.Set, s.Epoch, s.Index)
		if err := a.put(tx, custodian.KindShare, id, s, a.event("share.issue", ledger.Target{Type: "share", ID: id}, map[string]any{"custodian": s.Custodian})); err != nil {
			return err
		}
	}
	return nil
}

// Undo: nothing was left outside the database; the sealed shares open nothing that exists.
func (backupSchedule) Undo(context.Context, Env, Input, Effect) error { return nil }
