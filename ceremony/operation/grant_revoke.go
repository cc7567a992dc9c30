package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

type grantRevokeParams struct {
	Grant  string `json:"grant"`
	Reason string `json:"reason"`
}

// grantRevoke ends a grant at once.
type grantRevoke struct{}

func (grantRevoke) Name() string { return "grant.revoke" }

func (grantRevoke) read(view *store.View, in Input) (*access.Grant, store.Row, string, error) {
	p, err := decode[grantRevokeParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	g, row, err := lookup[access.Grant](view, custodian.KindGrant, "grant", p.Grant, "grant")
	return g, row, reason, err
}

func (o grantRevoke) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	g, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	target := policies.QuorumTarget{Type: "grant", ID: g.ID}
	// A key that is gone or tampered with must not keep a grant on it from being revoked.
	if k, _, err := store.Get[key.Key](view, custodian.KindKey, g.Key); err == nil {
		target.Owner, target.Classifications = k.Owner, []string{string(k.Classification)}
	}
	plan := Plan{Target: Target{Type: "grant", ID: g.ID, GovRevision: row.Revision},
		Title:  fmt.Sprintf("Revoke grant %s: application %s can no longer use key %s", g.ID, g.Application, g.Key),
		Lines:  []Line{{Label: "grant", Before: list(g.Operations) + " until " + g.ExpiresAt.Format(time.DateOnly), After: "revoked"}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: target}}
	if g.RevokedAt != nil {
		plan.Deny = append(plan.Deny, refusal("already_revoked", "grant "+g.ID+" is revoked already", "nothing to do"))
	}
	return plan, nil
}

func (o grantRevoke) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	g, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	g.RevokedAt = &a.at
	e := a.event("grant.revoke", ledger.Target{Type: "grant", ID: g.ID}, map[string]any{"application": g.Application, "key": g.Key})
	if err := a.put(tx, custodian.KindGrant, g.ID, g, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"grant": g.ID, "revoked": true}), nil
}
