package operation

import (
	"context"
	"errors"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

type retentionChangeParams struct {
	Class         oversight.Class `json:"class"`
	Days          int             `json:"days"`
	ImmediateDays int             `json:"immediate_days"`
	Reason        string          `json:"reason"`
}

// retentionChange governs how long records of a class are kept: never shorter than the standards that the
// instance falls under demand.
type retentionChange struct{}

func (retentionChange) Name() string { return "retention.change" }

func (retentionChange) read(view *store.View, in Input) (before, after oversight.Retention, row store.Row, reason string, err error) {
	p, err := decode[retentionChangeParams](in)
	if err != nil {
		return before, after, row, "", err
	}
	if reason, err = why("reason", p.Reason, in); err != nil {
		return before, after, row, "", err
	}
	hipaa, err := fallsUnderHIPAA(view)
	if err != nil {
		return before, after, row, "", err
	}
	after = oversight.Retention{Class: p.Class, Days: p.Days, ImmediateDays: p.ImmediateDays, ChangedBy: in.Ceremony, ChangedAt: in.Now}
	if err = after.Validate(hipaa); err != nil {
		return before, after, row, "", err
	}
	before = oversight.DefaultRetention(p.Class)
	kept, row, err := store.Get[oversight.Retention](view, custodian.KindRetention, string(p.Class))
	switch {
	case err == nil:
		before = *kept
	case !errors.Is(err, store.ErrNotFound):
		return before, after, row, "", fmt.Errorf("reading retention of %s: %w", p.Class, err)
	}
	return before, after, row, reason, nil
}

// fallsUnderHIPAA: a key for ePHI, or under HIPAA, is or was in this instance. One that cannot be believed counts.
func fallsUnderHIPAA(view *store.View) (bool, error) {
	if bad := view.Tampered(custodian.KindKey); len(bad) > 0 {
		return true, &store.TamperedError{Kind: custodian.KindKey, ID: bad[0].ID}
	}
	for row := range view.List(custodian.KindKey) {
		if k, ok := row.Value.(*key.Key); ok && oversight.HIPAA(k) {
			return true, nil
		}
	}
	return false, nil
}

func (o retentionChange) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	before, after, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	days := func(n int) string { return amount.Of(n, "day") }
	plan := Plan{Target: Target{Type: "retention", ID: string(after.Class), GovRevision: row.Revision},
		Title: fmt.Sprintf("Keep records of class %s for %s", after.Class, amount.Of(after.Days, "day")),
		Lines: []Line{{Label: "kept", Before: days(before.Days), After: days(after.Days)},
			{Label: "at hand without a restore", Before: days(before.ImmediateDays), After: days(after.ImmediateDays)}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "retention", ID: string(after.Class)}}}
	if before.Days == after.Days && before.ImmediateDays == after.ImmediateDays {
		plan.Deny = append(plan.Deny, refusal("no_change", "the periods are these already", "nothing to do"))
	}
	return plan, nil
}

func (o retentionChange) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	before, after, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	after.ChangedAt = a.at
	e := a.event("retention.change", ledger.Target{Type: "retention", ID: string(after.Class)}, map[string]any{"days": after.Days, "days_before": before.Days,
		"immediate_days": after.ImmediateDays, "immediate_days_before": before.ImmediateDays})
	if err := a.put(tx, custodian.KindRetention, string(after.Class), &after, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"class": string(after.Class), "days": after.Days, "immediate_days": after.ImmediateDays}), nil
}
