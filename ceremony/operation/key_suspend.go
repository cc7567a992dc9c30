package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

type keySuspendParams struct {
	Key       string `json:"key"`
	Version   uint32 `json:"version"`   // 0: every active version
	Suspected bool   `json:"suspected"` // compromise is suspected
	Campaign  bool   `json:"campaign"`  // with suspected: protecting anew begins before the suspicion is judged
	Reason    string `json:"reason"`
}

// keySuspend stops a key at once (T7). One person does it; a quorum undoes it.
type keySuspend struct{}

func (keySuspend) Name() string { return "key.suspend" }

func (o keySuspend) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, k, versions, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return Plan{}, err
	}
	by, err := reviewBy(ctx, env, in, k, in.Now)
	if err != nil {
		return Plan{}, err
	}
	title := fmt.Sprintf("Suspend key %s at once; a quorum must release it", k.ID)
	if p.Version != 0 {
		title = fmt.Sprintf("Suspend version %d of key %s at once; a quorum must release it", p.Version, k.ID)
	}
	plan := Plan{Target: keyTarget(k), Title: title, Quorum: keyQuorum(k), Lines: []Line{keyLine(k)}}
	changed, err := key.FanOut(versions, key.Suspended, suspension(foresee(in, reason), p, by), key.Facts{})
	if plan.Deny, err = refusals(err); err != nil {
		return Plan{}, err
	}
	plan.Lines = append(plan.Lines, changeLines(versions, changed)...)
	cause := "hold"
	if p.Suspected {
		cause = "compromise is suspected: nothing is processed either"
	}
	for _, v := range changed {
		if p.Suspected {
			plan.Lines = append(plan.Lines, Line{Label: "to be decided", After: fmt.Sprintf("version %d by %s: %s", v.Version, in.Now.Add(decideSuspicion).UTC().Format(time.RFC3339), afterSuspicion(view, k.ID, v.Version))})
		}
	}
	if p.Campaign {
		plan.Lines = append(plan.Lines, Line{Label: "follows", After: reprotects()})
	}
	plan.Lines = append(plan.Lines, Line{Label: "cause", After: cause}, Line{Label: "to be released or ended by", After: by.Format(time.RFC3339)})
	return plan, nil
}

func (keySuspend) read(view *store.View, in Input) (keySuspendParams, *key.Key, []*key.Version, error) {
	p, err := decode[keySuspendParams](in)
	if err != nil {
		return p, nil, nil, err
	}
	if p.Campaign && !p.Suspected {
		return p, nil, nil, &custodian.InputError{Field: "campaign", Problem: "given without a suspicion", Allowed: "with suspected, or campaign.start for any other reason"}
	}
	k, err := keyRow(view, "key", p.Key)
	if err != nil {
		return p, nil, nil, err
	}
	versions, err := versionRows(view, k, p.Version)
	return p, k, versions, err
}

// reviewBy is the latest review of a suspension that begins at from: policy's days, at most 30.
func reviewBy(ctx context.Context, env Env, in Input, k *key.Key, from time.Time) (time.Time, error) {
	periods, err := lifecycle(ctx, env, in, k)
	if err != nil {
		return time.Time{}, fmt.Errorf("asking for the review date of key %s: %w", k.ID, err)
	}
	wait := key.MaxSuspension
	if days := periods.SuspensionReviewDays; days > 0 {
		wait = min(wait, time.Duration(days)*key.Day)
	}
	return from.Add(wait).UTC().Truncate(time.Microsecond), nil
}

func suspension(a acting, p keySuspendParams, by time.Time) key.Transition {
	t := a.transition("T7")
	t.Suspected, t.ReviewBy = p.Suspected, &by
	return t
}

func (o keySuspend) Execute(ctx context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, k, versions, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	by, err := reviewBy(ctx, env, in, k, a.at)
	if err != nil {
		return Result{}, err
	}
	changed, err := key.FanOut(versions, key.Suspended, suspension(a, p, by), key.Facts{})
	if err != nil {
		return Result{}, err
	}
	err = putChanged(a, tx, "key.suspend", k, changed, map[string]any{"suspected": p.Suspected, "decide_by": by.Format(time.RFC3339)})
	for _, v := range changed {
		if err == nil && p.Campaign {
			_, err = campaignFor(a, tx, v, in, fmt.Sprintf("-v%d", v.Version))
		}
	}
	return changedResult(k, changed), err
}

// refusals splits an error of the life cycle into what is a refusal with reasons and what is not.
func refusals(err error) ([]policies.Reason, error) {
	if err == nil {
		return nil, nil
	}
	return lifecycleRefusal(err)
}

// changeLines shows every version that changes, before and after.
func changeLines(before, changed []*key.Version) []Line {
	var out []Line
	for _, next := range changed {
		for _, v := range before {
			if v.Version == next.Version {
				out = append(out, stateLine(v, string(next.State)))
			}
		}
	}
	return out
}
