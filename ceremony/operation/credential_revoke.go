package operation

import (
	"context"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

type credentialRevokeParams struct {
	Person     string `json:"person"`
	Credential string `json:"credential"` // id: RFC 7638 thumbprint
	Reason     string `json:"reason"`
}

// credentialRevoke takes an approval key back at once: one's own, or a security officer anybody's. What it signed in
// ceremonies that are open counts no more; what was made with it alone opens duties. A new key takes a quorum.
type credentialRevoke struct{}

func (credentialRevoke) Name() string { return "credential.revoke" }

// revocation is one approval key to be taken back, judged.
type revocation struct {
	personChange
	credential *people.Credential
	reason     string
	duties     []duty
}

func (credentialRevoke) read(view *store.View, in Input) (*revocation, error) {
	p, err := decode[credentialRevokeParams](in)
	if err != nil {
		return nil, err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, err
	}
	before, row, err := personRow(view, "person", p.Person)
	if err != nil {
		return nil, err
	}
	if err := key.CheckText("credential", p.Credential, 64, false); err != nil {
		return nil, err
	}
	credential := before.Credential(p.Credential)
	if credential == nil {
		return nil, &custodian.InputError{Field: "credential", Problem: "not a key of " + before.ID, Allowed: "the id of one of their approval keys"}
	}
	after := *before
	after.ApprovalKeys = before.Revoke(func(c people.Credential) bool { return c.ID == p.Credential }, in.Now, in.Requester.ID, reason)
	r := &revocation{personChange: personChange{before, &after, row}, credential: credential, reason: reason}
	if !credential.Revoked {
		r.duties = leftBehind(view, before, []string{credential.ID}, in)
	}
	return r, nil
}

func (o credentialRevoke) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	r, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	left := len(r.after.Live())
	plan := personPlan(r.before, r.row, fmt.Sprintf("Revoke an approval key of %s (%s) at once, for good", r.before.ID, r.before.Name),
		Line{Label: "approval key", Before: r.credential.ID, After: "revoked"}, Line{Label: "reason", After: r.reason},
		Line{Label: "approval keys", Before: fmt.Sprintf("%d may sign", len(r.before.Live())), After: fmt.Sprintf("%d may sign", left)})
	plan.Quorum.Target.Owner = r.before.ID
	for _, d := range r.duties {
		plan.Lines = append(plan.Lines, d.line())
	}
	if r.credential.Revoked {
		plan.Deny = append(plan.Deny, refusal("already_revoked", "the key is revoked already", "nothing to do"))
		return plan, nil
	}
	if left > 0 || people.Present(r.before) != nil {
		return plan, nil // they can go on with another key, or do not count anyway
	}
	plan.Lines = append(plan.Lines, Line{Label: "warning", After: r.before.ID + " has no other key: a quorum must give them one (credential.recover)"})
	// Without a key somebody is as good as suspended, and is given one by the same quorum that releases.
	if plan.Deny, err = unreleasable(ctx, env, view, r.before.ID, nil, in); err != nil || len(plan.Deny) > 0 {
		return plan, err
	}
	plan.Deny, err = losesQuorum(ctx, env, view, in, r.after)
	return plan, err
}

func (o credentialRevoke) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	r, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, r.reason)
	e := a.event("credential.revoke", ledger.Target{Type: "person", ID: r.after.ID}, map[string]any{"credential": r.credential.ID, "left": len(r.after.Live())})
	if err := a.put(tx, custodian.KindPerson, r.after.ID, r.after, e); err != nil {
		return Result{}, err
	}
	ids, err := openDuties(a, tx, r.duties)
	if err != nil {
		return Result{}, err
	}
	return result(map[string]any{"person": r.after.ID, "credential": r.credential.ID, "revoked": true, "left": len(r.after.Live()), "duties": ids}), nil
}
