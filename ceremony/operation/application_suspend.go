package operation

import (
	"context"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

func applicationPlan(app *access.Application, row store.Row, title string, lines ...Line) Plan {
	return Plan{Target: Target{Type: "application", ID: app.ID, GovRevision: row.Revision}, Title: title,
		Lines:  append([]Line{{Label: "application", After: fmt.Sprintf("%s (%s), owner %s", app.ID, app.Name, app.Owner)}}, lines...),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "application", ID: app.ID, Owner: app.Owner}}}
}

type applicationSuspendParams struct {
	Application string `json:"application"`
	Reason      string `json:"reason"`
}

// applicationSuspend stops every call of an application at once.
type applicationSuspend struct{}

func (applicationSuspend) Name() string { return "application.suspend" }

func (applicationSuspend) read(view *store.View, in Input) (*access.Application, store.Row, string, error) {
	p, err := decode[applicationSuspendParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	app, row, err := applicationRow(view, "application", p.Application)
	return app, row, reason, err
}

func (o applicationSuspend) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	app, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := applicationPlan(app, row, fmt.Sprintf("Suspend application %s at once; a quorum must release it", app.ID),
		Line{Label: "status", Before: app.Status, After: access.StatusSuspended}, Line{Label: "reason", After: reason})
	if !app.Active() {
		plan.Deny = append(plan.Deny, refusal("already_suspended", "application "+app.ID+" is suspended already", "nothing to do"))
	}
	return plan, nil
}

func (o applicationSuspend) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	app, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	app.Status, app.SuspendedAt = access.StatusSuspended, &a.at
	e := a.event("application.suspend", ledger.Target{Type: "application", ID: app.ID}, nil)
	if err := a.put(tx, custodian.KindApplication, app.ID, app, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"application": app.ID, "status": app.Status}), nil
}

type applicationResumeParams struct {
	Application string `json:"application"`
	Finding     string `json:"finding"` // how the finding behind the suspension was closed
}

// applicationResume lets a suspended application call again.
type applicationResume struct{}

func (applicationResume) Name() string { return "application.resume" }

func (applicationResume) read(view *store.View, in Input) (*access.Application, store.Row, string, error) {
	p, err := decode[applicationResumeParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	finding, err := why("finding", p.Finding, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	app, row, err := applicationRow(view, "application", p.Application)
	return app, row, finding, err
}

func (o applicationResume) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	app, row, finding, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := applicationPlan(app, row, fmt.Sprintf("Resume application %s", app.ID),
		Line{Label: "status", Before: app.Status, After: access.StatusActive}, Line{Label: "finding", After: finding})
	if app.Active() {
		plan.Deny = append(plan.Deny, refusal("not_suspended", "application "+app.ID+" is not suspended", "nothing to do"))
	}
	open, err := findingsOpen(view, oversight.Ref{Type: "application", ID: app.ID})
	plan.Deny = append(plan.Deny, open...)
	return plan, err
}

func (o applicationResume) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	app, _, finding, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, finding)
	app.Status, app.SuspendedAt = access.StatusActive, nil
	e := a.event("application.resume", ledger.Target{Type: "application", ID: app.ID}, nil)
	if err := a.put(tx, custodian.KindApplication, app.ID, app, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"application": app.ID, "status": app.Status}), nil
}
