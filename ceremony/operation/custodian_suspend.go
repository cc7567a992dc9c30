package operation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

func personPlan(p *people.Person, row store.Row, title string, lines ...Line) Plan {
	return Plan{Target: Target{Type: "person", ID: p.ID, GovRevision: row.Revision}, Title: title, Subjects: []string{p.ID},
		Lines:  append([]Line{{Label: "person", After: fmt.Sprintf("%s (%s): %s", p.ID, p.Name, list(p.Roles))}}, lines...),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "person", ID: p.ID}}}
}

type custodianSuspendParams struct {
	Person string `json:"person"`
	Reason string `json:"reason"`
	// Leaving: the person is about to leave, so that what must follow from a departure is opened now.
	Leaving bool `json:"leaving"`
}

// custodianSuspend takes a person out of every quorum at once. It is refused when nobody could be released any
// more; for anything else that it costs whoever acts is warned.
type custodianSuspend struct{}

func (custodianSuspend) Name() string { return "custodian.suspend" }

func (custodianSuspend) read(view *store.View, in Input) (*people.Person, store.Row, custodianSuspendParams, error) {
	p, err := decode[custodianSuspendParams](in)
	if err != nil {
		return nil, store.Row{}, p, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return nil, store.Row{}, p, err
	}
	person, row, err := personRow(view, "person", p.Person)
	return person, row, p, err
}

func (o custodianSuspend) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, row, params, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := personPlan(p, row, fmt.Sprintf("Suspend %s at once; a quorum must release them", p.ID),
		Line{Label: "status", Before: string(p.Status), After: string(people.StatusSuspended)}, Line{Label: "reason", After: params.Reason})
	if params.Leaving {
		for _, d := range followUps(view, p, people.CauseLeaving, in, nil) {
			plan.Lines = append(plan.Lines, d.line())
		}
	}
	for _, w := range costs(view, p.ID, in.Now) {
		plan.Lines = append(plan.Lines, Line{Label: "warning", After: w})
	}
	switch {
	case p.ID == in.Requester.ID:
		plan.Deny = append(plan.Deny, refusal(people.CodeExcludedSubject, "whom a change is about takes no part in it", "another security officer acts"))
	case p.Status != people.StatusActive:
		plan.Deny = append(plan.Deny, refusal("not_active", p.ID+" is "+string(p.Status)+" already", "nothing to do"))
	default:
		plan.Deny, err = unreleasable(ctx, env, view, p.ID, nil, in)
	}
	return plan, err
}

func (o custodianSuspend) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, _, params, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	warnings := costs(tx.View(), p.ID, in.Now)
	a := act(env, tx, in, params.Reason)
	p.Status, p.SuspendedAt, p.SuspendedReason, p.SuspendedBy = people.StatusSuspended, &a.at, params.Reason, in.Requester.ID
	e := a.event("custodian.suspend", ledger.Target{Type: "person", ID: p.ID}, map[string]any{"warnings": warnings, "leaving": params.Leaving})
	if err := a.put(tx, custodian.KindPerson, p.ID, p, e); err != nil {
		return Result{}, err
	}
	out := map[string]any{"person": p.ID, "status": string(p.Status), "warnings": warnings}
	if params.Leaving {
		if out["duties"], err = openDuties(a, tx, followUps(tx.View(), p, people.CauseLeaving, in, nil)); err != nil {
			return Result{}, err
		}
	}
	return result(out), nil
}

// leastPeople is how many people a governed operation takes: a requester and two others (DESIGN invariant 1).
const leastPeople = 3

// costs says in words which quorums would be lost without a person.
func costs(view *store.View, without string, now time.Time) []string {
	find := func(id string) *people.Person {
		if id == without {
			return nil
		}
		return register(view)(id)
	}
	out := []string{}
	for _, set := range store.All[people.ShareSet](view, custodian.KindShareSet) {
		shares := shareRows(view, set.ID)
		if !slices.ContainsFunc(shares, func(s *people.Share) bool { return s.Custodian == without && s.Usable(set) }) {
			continue
		}
		health := people.Assess(set, shares, find, now)
		switch {
		case !health.Ready():
			out = append(out, fmt.Sprintf("share set %s: only %s left, %d open %s", set.ID, amount.Of(health.Usable, "usable share"), set.Threshold, set.Opens()))
		case health.LossesSurvived == 0:
			out = append(out, fmt.Sprintf("share set %s: no spare share is left", set.ID))
		}
	}
	voices, officers := 0, 0
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		if p.ID == without || people.Eligible(p, "", now) != nil || !approves(p) {
			continue
		}
		voices++
		if p.Has(people.RoleSecurityOfficer) {
			officers++
		}
	}
	if voices < leastPeople {
		out = append(out, fmt.Sprintf("only %s left who count; governed operations take %d", amount.Of(voices, "person"), leastPeople))
	}
	if officers == 0 {
		out = append(out, "no security officer is left who counts; nothing suspended can be released")
	}
	return out
}

// approves: people in these roles count in quorums; witnesses, auditors and administrators do not.
func approves(p *people.Person) bool {
	return p.Has(people.RoleCustodian) || p.Has(people.RoleKeyManager) || p.Has(people.RoleKeyOwner) || p.Has(people.RoleSecurityOfficer)
}

type custodianResumeParams struct {
	Person  string `json:"person"`
	Finding string `json:"finding"` // how the finding behind the suspension was closed
}

// custodianResume lets a suspended person take part again.
type custodianResume struct{}

func (custodianResume) Name() string { return "custodian.resume" }

func (custodianResume) read(view *store.View, in Input) (*people.Person, store.Row, string, error) {
	p, err := decode[custodianResumeParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	finding, err := why("finding", p.Finding, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	person, row, err := personRow(view, "person", p.Person)
	return person, row, finding, err
}

func (o custodianResume) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, row, finding, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := personPlan(p, row, fmt.Sprintf("Resume %s: they count in quorums again", p.ID),
		Line{Label: "status", Before: string(p.Status), After: string(people.StatusActive)},
		Line{Label: "suspended because", Before: p.SuspendedReason}, Line{Label: "finding", After: finding})
	if p.Status != people.StatusSuspended {
		plan.Deny = append(plan.Deny, refusal("not_suspended", p.ID+" is "+string(p.Status)+", not suspended", "nothing to do"))
	}
	open, err := findingsOpen(view, oversight.Ref{Type: "person", ID: p.ID})
	plan.Deny = append(plan.Deny, open...)
	return plan, err
}

func (o custodianResume) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, _, finding, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, finding)
	p.Status, p.SuspendedAt, p.SuspendedReason, p.SuspendedBy = people.StatusActive, nil, "", ""
	if err := seen(a, tx, p.ID); err != nil {
		return Result{}, err
	}
	e := a.event("custodian.resume", ledger.Target{Type: "person", ID: p.ID}, nil)
	if err := a.put(tx, custodian.KindPerson, p.ID, p, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"person": p.ID, "status": string(p.Status)}), nil
}
