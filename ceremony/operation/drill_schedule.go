package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type drillScheduleParams struct {
	Set        string                   `json:"set"`
	Owner      string                   `json:"owner"` // whoever answers for the keystore where empty
	Days       map[people.DrillKind]int `json:"days"`  // by kind; what is left out keeps its usual period
	RTOMinutes int                      `json:"rto_minutes"`
	Reason     string                   `json:"reason"`
}

// drillSchedule sets how often the drills of a share set are held, who answers for them, and how long recovery may
// take. Without one every set has the periods of ceremony practice: nobody must do anything to be reminded. It is
// governed, since a longer period hides longer that shares do not work.
type drillSchedule struct{}

func (drillSchedule) Name() string { return "drill.schedule" }

func (drillSchedule) read(view *store.View, in Input) (*people.DrillPlan, *people.ShareSet, store.Row, string, error) {
	p, err := decode[drillScheduleParams](in)
	if err != nil {
		return nil, nil, store.Row{}, "", err
	}
	set, row, err := setInForce(view, p.Set)
	if err != nil {
		return nil, nil, row, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, nil, row, "", err
	}
	next := &people.DrillPlan{Set: set.ID, Owner: p.Owner, Days: p.Days, RTOMinutes: p.RTOMinutes, ChangedAt: in.Now, Ceremony: in.Ceremony}
	if next.Owner == "" {
		next.Owner = drillOwner(view, set)
	}
	if err := next.Validate(); err != nil {
		return nil, nil, row, "", err
	}
	_, err = presentPerson(view, "owner", next.Owner)
	return next, set, row, reason, err
}

func (o drillSchedule) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	next, set, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	before := drillPlan(view, set.ID)
	plan := Plan{Target: setTarget(set, row), Title: "Set the schedule of drills of share set " + set.ID,
		Lines: []Line{{Label: "answers for them", Before: drillOwner(view, set), After: next.Owner}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "share_set", ID: set.ID, Owner: next.Owner,
			Threshold: set.Threshold, Total: set.Total}}}
	for _, kind := range people.DrillKinds() {
		was, will := everyDays(before, kind), everyDays(next, kind)
		if was != will {
			plan.Lines = append(plan.Lines, Line{Label: string(kind), Before: was, After: will})
		} else {
			plan.Lines = append(plan.Lines, Line{Label: string(kind), After: will})
		}
	}
	plan.Lines = append(plan.Lines, Line{Label: "recovery takes at most", Before: rtoWords(before), After: rtoWords(next)}, Line{Label: "reason", After: reason})
	return plan, nil
}

func everyDays(p *people.DrillPlan, kind people.DrillKind) string {
	period, held := p.Period(kind)
	if !held {
		return "not held"
	}
	return fmt.Sprintf("every %d days", period/key.Day)
}

func rtoWords(p *people.DrillPlan) string {
	if p == nil || p.RTOMinutes == 0 {
		return "not declared"
	}
	return (time.Duration(p.RTOMinutes) * time.Minute).String()
}

func (o drillSchedule) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	next, set, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	e := a.event(o.Name(), setEventTarget(set.ID), map[string]any{"owner": next.Owner, "days": next.Days, "rto_minutes": next.RTOMinutes})
	if err := a.put(tx, custodian.KindDrillPlan, set.ID, next, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"set": set.ID, "owner": next.Owner}), nil
}
