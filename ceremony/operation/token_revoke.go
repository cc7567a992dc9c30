package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

type tokenRevokeParams struct {
	Token  string `json:"token"` // its id, the part before the point without the prefix
	Reason string `json:"reason"`
}

// tokenRevoke ends a token at once.
type tokenRevoke struct{}

func (tokenRevoke) Name() string { return "token.revoke" }

func (tokenRevoke) read(view *store.View, in Input) (*access.Token, store.Row, string, error) {
	p, err := decode[tokenRevokeParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	t, row, err := lookup[access.Token](view, custodian.KindToken, "token", p.Token, "token")
	return t, row, reason, err
}

func (o tokenRevoke) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	t, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "token", ID: t.ID, GovRevision: row.Revision},
		Title:  fmt.Sprintf("Revoke token %s of %s %s", t.ID, t.Kind, t.Subject),
		Lines:  []Line{{Label: "token", Before: "valid until " + t.ExpiresAt.Format(time.RFC3339), After: "revoked"}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "token", ID: t.ID}}}
	if t.RevokedAt != nil {
		plan.Deny = append(plan.Deny, refusal("already_revoked", "token "+t.ID+" is revoked already", "nothing to do"))
	}
	return plan, nil
}

func (o tokenRevoke) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	t, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	t.RevokedAt = &a.at
	e := a.event("token.revoke", ledger.Target{Type: "token", ID: t.ID}, map[string]any{"kind": t.Kind, "subject": t.Subject})
	if err := a.put(tx, custodian.KindToken, t.ID, t, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"token": t.ID, "revoked": true}), nil
}
