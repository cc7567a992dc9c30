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

type grantAlterParams struct {
	Grant      string             `json:"grant"`
	Operations []access.Operation `json:"operations"` // default: as they are
	Context    map[string]string  `json:"context"`    // default: as it is
	Days       int                `json:"days"`       // from now; default: ends as before
	Reason     string             `json:"reason"`
}

// grantAlter changes what a grant in force allows, and until when. What is approved anew is the whole grant.
type grantAlter struct{}

func (grantAlter) Name() string { return "grant.alter" }

func (grantAlter) read(view *store.View, in Input, at time.Time) (before, after *access.Grant, row store.Row, reason string, err error) {
	p, err := decode[grantAlterParams](in)
	if err != nil {
		return nil, nil, row, "", err
	}
	if reason, err = why("reason", p.Reason, in); err != nil {
		return nil, nil, row, "", err
	}
	if before, row, err = lookup[access.Grant](view, custodian.KindGrant, "grant", p.Grant, "grant"); err != nil {
		return nil, nil, row, "", err
	}
	own := *before
	after = &own
	if p.Operations != nil {
		after.Operations = p.Operations
	}
	if p.Context != nil {
		after.Context = p.Context
	}
	if p.Days != 0 {
		if err := key.CheckRange("days", p.Days, 1, int(access.MaxGrantLife/key.Day), "days"); err != nil {
			return nil, nil, row, "", err
		}
		// A life begins anew with its approval.
		after.CreatedAt = at.UTC().Truncate(time.Microsecond)
		after.ExpiresAt = after.CreatedAt.Add(time.Duration(p.Days) * key.Day)
	}
	after.CreatedBy, after.Asked = in.Ceremony, foresee(in, reason).asked()
	return before, after, row, reason, after.Validate()
}

func (o grantAlter) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	before, after, row, reason, err := o.read(view, in, in.Now)
	if err != nil {
		return Plan{}, err
	}
	k, err := keyRow(view, "key", before.Key)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "grant", ID: before.ID, GovRevision: row.Revision}, Title: fmt.Sprintf("Change what application %s may do with key %s", before.Application, k.ID),
		Lines: []Line{keyLine(k), {Label: "may", Before: grantWords(before), After: grantWords(after)},
			{Label: "until", Before: before.ExpiresAt.Format(time.DateOnly), After: after.ExpiresAt.Format(time.DateOnly)}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "grant", ID: before.ID, Owner: k.Owner, Classifications: []string{string(k.Classification)}}}}
	if before.RevokedAt != nil {
		plan.Deny = append(plan.Deny, refusal("already_revoked", "grant "+before.ID+" is revoked", "propose a new one (grant.create)"))
	}
	return plan, nil
}

func grantWords(g *access.Grant) string {
	fields := make([]string, 0, len(g.Context))
	for name, value := range g.Context {
		fields = append(fields, fmt.Sprintf("%q = %q", name, value))
	}
	words := list(g.Operations)
	if len(fields) > 0 {
		words += ", where the encryption context has " + list(fields)
	}
	return words
}

func (o grantAlter) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	a := act(env, tx, in, in.Reason)
	before, after, _, reason, err := o.read(tx.View(), in, a.at)
	if err != nil {
		return Result{}, err
	}
	if before.RevokedAt != nil {
		return Result{}, fmt.Errorf("grant %s is revoked", before.ID)
	}
	a.reason = reason
	e := a.event("grant.alter", ledger.Target{Type: "grant", ID: after.ID}, map[string]any{"application": after.Application, "key": after.Key,
		"operations": after.Operations, "expires_at": after.ExpiresAt.Format(time.RFC3339)})
	return result(map[string]any{"grant": after.ID, "expires_at": after.ExpiresAt.Format(time.RFC3339)}), a.put(tx, custodian.KindGrant, after.ID, after, e)
}
