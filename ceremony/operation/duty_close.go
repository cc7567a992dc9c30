package operation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type dutyCloseParams struct {
	Duty    string `json:"duty"`
	Finding string `json:"finding"` // how it was done, or why it need not be
}

// dutyClose is somebody's word that a duty is done, where its facts alone do not say so.
type dutyClose struct{}

func (dutyClose) Name() string { return "duty.close" }

func (dutyClose) read(view *store.View, in Input) (*people.Duty, store.Row, string, error) {
	p, err := decode[dutyCloseParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	finding, err := why("finding", p.Finding, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	d, row, err := lookup[people.Duty](view, custodian.KindDuty, "duty", p.Duty, "duty")
	return d, row, finding, err
}

func (o dutyClose) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	d, row, finding, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "duty", ID: d.ID, GovRevision: row.Revision}, Title: fmt.Sprintf("Close a duty that follows from %s: %s", d.Person, d.Task),
		Lines: []Line{{Label: "duty", Before: fmt.Sprintf("open since %s, due %s", d.OpenedAt.UTC().Format(time.DateOnly), d.DueAt.UTC().Format(time.RFC3339)), After: "closed"},
			{Label: "finding", After: finding}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "duty", ID: d.ID}}}
	if left := Outstanding(view, d); len(left) > 0 {
		plan.Lines = append(plan.Lines, Line{Label: "by the facts still to do", After: strings.Join(left[:min(len(left), 10)], ", ")})
	}
	switch {
	case !d.Open():
		plan.Deny = append(plan.Deny, refusal("already_closed", "duty "+d.ID+" is closed already", "nothing to do"))
	case d.Person == in.Requester.ID:
		plan.Deny = append(plan.Deny, refusal(people.CodeExcludedSubject, "nobody closes a duty that follows from themselves", "another security officer closes it"))
	}
	return plan, nil
}

func (o dutyClose) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	d, _, finding, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, finding)
	left := Outstanding(tx.View(), d)
	d.ClosedAt, d.ClosedBy, d.Finding = &a.at, in.Requester.ID, finding
	e := a.event("duty.close", ledger.Target{Type: "duty", ID: d.ID}, map[string]any{"kind": d.Kind, "person": d.Person, "outstanding": left})
	if err := a.put(tx, custodian.KindDuty, d.ID, d, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"duty": d.ID, "closed": true, "outstanding": len(left)}), nil
}
