package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/amount"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type tokenIssueParams struct {
	Application string `json:"application"` // exactly one of the two
	Auditor     string `json:"auditor"`     // person with role auditor
	Days        int    `json:"days"`
}

func (p tokenIssueParams) subject() (kind identity.Kind, id string) {
	if p.Auditor != "" {
		return identity.Auditor, p.Auditor
	}
	return identity.Application, p.Application
}

// tokenIssue makes a bearer token and hands it, once, to who asked: the owner of the application (for its first token
// also who had it enrolled), for an auditor a security officer.
type tokenIssue struct{}

func (tokenIssue) Name() string { return "token.issue" }

func (o tokenIssue) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, err := decode[tokenIssueParams](in)
	if err != nil {
		return Plan{}, err
	}
	if (p.Application == "") == (p.Auditor == "") {
		return Plan{}, &custodian.InputError{Field: "application", Problem: "both or none of application and auditor are given", Allowed: "exactly one of them"}
	}
	kind, id := p.subject()
	plan := Plan{Target: Target{Type: string(kind), ID: id}, Title: fmt.Sprintf("Make a token for %s %s, shown once to who asked", kind, id),
		Lines:  []Line{{Label: "token of " + string(kind), After: id}, {Label: "lasts", After: amount.Of(p.Days, "day")}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "token", ID: id}}}
	if kind == identity.Auditor {
		err = o.forAuditor(view, in, p, &plan)
		return plan, err
	}
	err = o.forApplication(view, in, p, &plan)
	return plan, err
}

func (tokenIssue) forApplication(view *store.View, in Input, p tokenIssueParams, plan *Plan) error {
	app, row, err := applicationRow(view, "application", p.Application)
	if err != nil {
		return err
	}
	enrolled, err := enrolmentOf(view, app)
	if err != nil {
		return err
	}
	if err := key.CheckRange("days", p.Days, 1, enrolled.days, "days, the longest that its enrolment allows"); err != nil {
		return err
	}
	plan.Target.GovRevision = row.Revision
	plan.Quorum.Target.Owner = app.Owner
	asks := register(view)(in.Requester.ID)
	if enrolled.requester != "" && enrolled.requester == in.Requester.ID && !hadToken(view, app.ID) {
		plan.Quorum.Target.Owner = enrolled.requester // to set it up, once
	}
	if err := people.Eligible(asks, "", in.Now); in.Requester.ID == plan.Quorum.Target.Owner && err != nil {
		plan.Deny = append(plan.Deny, refusal("owner_not_eligible", fmt.Sprintf("whoever makes a token answers for it: %v", err),
			"sign the acknowledgement (acknowledgement.sign), or have the application handed over (ownership.transfer)"))
	}
	if !app.Active() {
		plan.Deny = append(plan.Deny, refusal("application_suspended", "application "+app.ID+" is suspended", "a quorum resumes it (application.resume)"))
	}
	return nil
}

// hadToken reports whether an application was ever given a token.
func hadToken(view *store.View, application string) bool {
	for _, t := range store.All[access.Token](view, custodian.KindToken) {
		if t.Kind == string(identity.Application) && t.Subject == application {
			return true
		}
	}
	return false
}

// forAuditor: auditors do not give themselves access, a security officer answers for it.
func (tokenIssue) forAuditor(view *store.View, in Input, p tokenIssueParams, plan *Plan) error {
	auditor, err := presentPerson(view, "auditor", p.Auditor)
	if err != nil {
		return err
	}
	if !auditor.Has(people.RoleAuditor) {
		return &custodian.InputError{Field: "auditor", Problem: auditor.ID + " is not an auditor", Allowed: "a person with the role auditor"}
	}
	if err := key.CheckRange("days", p.Days, 1, int(access.MaxTokenLife/key.Day), "days"); err != nil {
		return err
	}
	officer := register(view)(in.Requester.ID)
	if in.Requester.Kind != identity.Human || people.Eligible(officer, people.RoleSecurityOfficer, in.Now) != nil {
		plan.Deny = append(plan.Deny, refusal("proposer_role_missing", "tokens of auditors are made by security officers", "have it proposed by a security officer"))
		return nil
	}
	plan.Quorum.Target.Owner = officer.ID
	return nil
}

func (tokenIssue) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, err := decode[tokenIssueParams](in)
	if err != nil {
		return Result{}, err
	}
	kind, id := p.subject()
	a := act(env, tx, in, in.Reason)
	token, once, err := access.NewToken(string(kind), id, in.Ceremony, a.at, time.Duration(p.Days)*key.Day)
	if err != nil {
		return Result{}, err
	}
	token.Asked = a.asked()
	e := a.event("token.issue", ledger.Target{Type: "token", ID: token.ID}, map[string]any{"kind": token.Kind, "subject": token.Subject,
		"expires_at": token.ExpiresAt.Format(time.RFC3339)})
	if err := a.put(tx, custodian.KindToken, token.ID, token, e); err != nil {
		once.Wipe()
		return Result{}, err
	}
	out := result(map[string]any{"token": token.ID, "kind": token.Kind, "subject": token.Subject, "expires_at": token.ExpiresAt.Format(time.RFC3339)})
	out.Once = once
	return out, nil
}
