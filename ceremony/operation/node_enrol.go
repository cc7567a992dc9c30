package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/ceremony/nodes"
	"conclave/custodian"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

type nodeEnrolParams struct {
	// Request is the file that the new machine made: a DSSE envelope of nodes.Request.
	Request []byte `json:"request"`
	// HandOver lets nodes that are active hand it the activation secrets of their keystores.
	HandOver bool `json:"hand_over"`
}

// nodeEnrol lets a machine serve the instance: it is given the instance's keys and may ask custodians to activate
// keystores on it. Enrolling a revoked node again, under the key that it had, releases the revocation.
type nodeEnrol struct{}

func (nodeEnrol) Name() string { return "node.enrol" }

// enrolling is a request that was read, with what the register has under its id.
type enrolling struct {
	node     custodian.Node
	key      jwk.Key
	madeAt   time.Time
	revision uint64 // of the row; 0 where there is none
	before   string // in words, "" where there is none
}

// maxNodes bounds the register (ours): trust files pin them all.
const maxNodes = 256

func (nodeEnrol) read(view *store.View, in Input) (*enrolling, []policies.Reason, error) {
	p, err := decode[nodeEnrolParams](in)
	if err != nil {
		return nil, nil, err
	}
	bad := func(problem string) error {
		return &custodian.InputError{Field: "request", Problem: problem, Allowed: "the file that `conclave node init` made on the new machine for this instance"}
	}
	r, public, err := nodes.OpenRequest(p.Request)
	if err != nil {
		return nil, nil, bad(err.Error())
	}
	if r.Instance != in.Instance.ID {
		return nil, nil, bad(fmt.Sprintf("made for instance %q", clean(r.Instance)))
	}
	if err := key.CheckID("request.node", r.Node); err != nil {
		return nil, nil, err
	}
	row, err := public.JSON()
	if err != nil {
		return nil, nil, err
	}
	e := &enrolling{node: custodian.Node{ID: r.Node, PublicKey: row, HandOver: p.HandOver}, key: public, madeAt: r.MadeAt}
	deny, err := e.registered(view)
	return e, deny, err
}

// registered holds the request against the nodes that there are or were: an id and a key belong together for ever.
func (e *enrolling) registered(view *store.View) ([]policies.Reason, error) {
	if bad := view.Tampered(custodian.KindNode); len(bad) > 0 {
		return nil, &store.TamperedError{Kind: custodian.KindNode, ID: bad[0].ID}
	}
	var deny []policies.Reason
	count := 0
	for _, n := range store.All[custodian.Node](view, custodian.KindNode) {
		count++
		k, err := n.Key()
		if err != nil {
			return nil, err
		}
		same := k.Thumbprint() == e.key.Thumbprint()
		switch {
		case n.ID != e.node.ID && same:
			deny = append(deny, refusal("key_in_use", "the key is node "+n.ID+"'s", "make the new machine a key of its own: conclave node init"))
		case n.ID != e.node.ID:
		case !same:
			deny = append(deny, refusal("node_id_taken", "node "+n.ID+" has or had another key", "give the new machine an id that no node has or had, and revoke the other if it is gone"))
		case !n.Revoked():
			deny = append(deny, refusal("already_enrolled", "node "+n.ID+" is enrolled with this key", "nothing to do"))
		default:
			e.before = "revoked " + n.RevokedAt.UTC().Format(dateTime) + ": " + n.RevokedReason
		}
	}
	if count >= maxNodes && e.before == "" {
		deny = append(deny, refusal("too_many_nodes", fmt.Sprintf("%d nodes are or were enrolled", count), "run the instance on fewer machines"))
	}
	row, err := view.Get(custodian.KindNode, e.node.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("reading node %q: %w", e.node.ID, err)
	}
	e.revision = row.Revision
	return deny, nil
}

func (o nodeEnrol) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	e, deny, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	before := "not enrolled"
	if e.before != "" {
		before = e.before
	}
	return Plan{Target: Target{Type: "node", ID: e.node.ID, GovRevision: e.revision},
		Title: fmt.Sprintf("Enrol node %s: it is given the keys of the instance and serves it", e.node.ID),
		Lines: []Line{{Label: "node " + e.node.ID, Before: before, After: "enrolled"},
			{Label: "fingerprint of its key, to be compared with what the machine shows", After: e.key.Fingerprint()},
			{Label: "activation secrets", After: secretsWords(e.node.HandOver)},
			{Label: "request made", After: e.madeAt.UTC().Format(dateTime)}},
		Deny: deny, Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "node", ID: e.node.ID}}}, nil
}

func secretsWords(handOver bool) string {
	if handOver {
		return "its custodians bring their shares, or a node that is active hands them to it"
	}
	return "its custodians bring their shares"
}

func (o nodeEnrol) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	n, deny, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if len(deny) > 0 {
		return Result{}, &custodian.Denied{Code: deny[0].Code, Reasons: deny}
	}
	a := act(env, tx, in, in.Reason)
	n.node.EnrolledAt, n.node.EnrolledBy = &a.at, in.Ceremony
	e := a.event("node.enrol", ledger.Target{Type: "node", ID: n.node.ID}, map[string]any{"key": n.key.Thumbprint(), "hand_over": n.node.HandOver})
	if err := a.put(tx, custodian.KindNode, n.node.ID, n.node, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"node": n.node.ID, "key": n.key.Thumbprint(), "enrolled": true}), nil
}
