package operation

import (
	"context"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

type nodeRevokeParams struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// nodeRevoke ends a node's part in the instance at once: from this commit on it records nothing, and so answers nothing.
type nodeRevoke struct{}

func (nodeRevoke) Name() string { return "node.revoke" }

func (nodeRevoke) read(view *store.View, in Input) (*custodian.Node, store.Row, string, error) {
	p, err := decode[nodeRevokeParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	n, row, err := lookup[custodian.Node](view, custodian.KindNode, "node", p.Node, "node")
	return n, row, reason, err
}

func (o nodeRevoke) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	n, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "node", ID: n.ID, GovRevision: row.Revision},
		Title: fmt.Sprintf("Revoke node %s: it stops serving at once", n.ID),
		Lines: []Line{{Label: "node " + n.ID, Before: "enrolled", After: "revoked"}, {Label: "reason", After: reason},
			{Label: "log key, which it has on its disk", After: "is to be replaced: logkey.rotate, cause " + custodian.LogKeyNodeRevoked}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "node", ID: n.ID}}}
	switch {
	case n.Revoked():
		plan.Deny = append(plan.Deny, refusal("already_revoked", "node "+n.ID+" is revoked already", "nothing to do"))
	case !othersServe(view, n.ID):
		plan.Deny = append(plan.Deny, refusal("lock_out", "node "+n.ID+" is the only one enrolled: without it nobody could enrol another",
			"enrol another node first, or stop this one and deactivate its keystores (keystore.deactivate)"))
	}
	return plan, nil
}

// othersServe reports whether a node besides this one is enrolled.
func othersServe(view *store.View, id string) bool {
	for _, n := range store.All[custodian.Node](view, custodian.KindNode) {
		if n.ID != id && !n.Revoked() {
			return true
		}
	}
	return false
}

func (o nodeRevoke) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	n, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	n.Revoke(a.at, in.Ceremony, reason)
	e := a.event("node.revoke", ledger.Target{Type: "node", ID: n.ID}, nil)
	if err := a.put(tx, custodian.KindNode, n.ID, n, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"node": n.ID, "revoked": true}), nil
}
