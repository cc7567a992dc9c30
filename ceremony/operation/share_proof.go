package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type shareProofParams struct {
	Set       string `json:"set"`
	Epoch     uint32 `json:"epoch"`
	Index     int    `json:"index"`
	Challenge []byte `json:"challenge"` // from the server, base64
	Signature []byte `json:"signature"` // over the challenge, by the key derived from the share
}

// shareProof is a holder's proof that they can open their share, which itself stays with them: share.confirm
// once when it was issued, share.drill from time to time.
type shareProof struct{ drill bool }

func (o shareProof) Name() string {
	if o.drill {
		return "share.drill"
	}
	return "share.confirm"
}

func (o shareProof) read(view *store.View, in Input) (p shareProofParams, set *people.ShareSet, share *people.Share, row store.Row, err error) {
	if p, err = decode[shareProofParams](in); err != nil {
		return p, nil, nil, row, err
	}
	if set, _, err = lookup[people.ShareSet](view, custodian.KindShareSet, "set", p.Set, "share set"); err != nil {
		return p, nil, nil, row, err
	}
	err = key.First([]error{
		key.CheckRange("index", p.Index, 1, people.MaxShares, "(shares count from 1)"),
		key.CheckRange("epoch", int(p.Epoch), 1, 1<<31-1, "(epochs count from 1)"),
	})
	if err != nil {
		return p, nil, nil, row, err
	}
	id := people.ShareID(p.Set, p.Epoch, p.Index)
	share, row, err = store.Get[people.Share](view, custodian.KindShare, id)
	if errors.Is(err, store.ErrNotFound) {
		err = unknown("index", id, "share")
	}
	if err == nil {
		if at, ok := set.At(share.Epoch); ok { // the pending epoch is confirmed like the one in force
			set = at
		}
	}
	return p, set, share, row, err
}

func (o shareProof) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, set, share, row, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	id := people.ShareID(share.Set, share.Epoch, share.Index)
	after := "confirmed"
	if o.drill {
		after = "proved readable " + in.Now.Format(time.DateOnly)
	}
	plan := Plan{Target: Target{Type: "share", ID: id, GovRevision: row.Revision},
		Title:  fmt.Sprintf("%s proves that share %d of set %s can be opened", in.Requester.ID, share.Index, share.Set),
		Lines:  []Line{{Label: "share " + id, Before: string(share.Status), After: after}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "share", ID: id, Owner: share.Custodian, Threshold: set.Threshold, Total: set.Total}}}
	if in.Requester.ID != share.Custodian {
		return plan, nil // not theirs: policy refuses, and the refusal is recorded
	}
	if err := o.check(env, p, share, in); err != nil {
		return Plan{}, err
	}
	plan.Deny = o.unprovable(set, share)
	return plan, nil
}

// check verifies the proof: the challenge is ours, fresh and for this holder, and was signed with this share.
func (shareProof) check(env Env, p shareProofParams, share *people.Share, in Input) error {
	if err := env.Challenges.Check(p.Challenge, in.Requester.ID, p.Set, p.Epoch, p.Index, in.Now); err != nil {
		return &custodian.InputError{Field: "challenge", Problem: err.Error(), Allowed: "a challenge of the last minutes for your own share (GET /v1/shares/mine)"}
	}
	if err := shamir.VerifyChallenge(share.Commitment, shamir.Set{ID: p.Set, Epoch: p.Epoch}, p.Index, p.Challenge, p.Signature); err != nil {
		return &custodian.InputError{Field: "signature", Problem: err.Error(), Allowed: "the challenge signed with the share itself"}
	}
	return nil
}

func (o shareProof) unprovable(set *people.ShareSet, share *people.Share) []policies.Reason {
	id := people.ShareID(share.Set, share.Epoch, share.Index)
	switch {
	case !share.Usable(set):
		return []policies.Reason{refusal("share_unusable", fmt.Sprintf("share %s is %s, the set is at epoch %d", id, share.Status, set.Epoch), "use your share of the epoch in force, or of the pending one")}
	case !o.drill && share.Status == people.ShareConfirmed:
		return []policies.Reason{refusal("already_confirmed", "share "+id+" is confirmed already", "practise with share.drill")}
	case o.drill && share.Status != people.ShareConfirmed:
		return []policies.Reason{refusal("not_confirmed", "share "+id+" is not confirmed yet", "confirm it first (share.confirm)")}
	}
	return nil
}

func (o shareProof) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, set, share, _, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if err := o.check(env, p, share, in); err != nil {
		return Result{}, err
	}
	if against := o.unprovable(set, share); len(against) > 0 {
		return Result{}, errors.New(against[0].Message)
	}
	a := act(env, tx, in, in.Reason)
	if share.DrilledAt = &a.at; !o.drill {
		share.Status, share.ConfirmedAt, share.DrilledAt = people.ShareConfirmed, &a.at, nil
	}
	id := people.ShareID(share.Set, share.Epoch, share.Index)
	e := a.event(o.Name(), ledger.Target{Type: "share", ID: id}, map[string]any{"custodian": share.Custodian})
	if err := a.put(tx, custodian.KindShare, id, share, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"share": id, "status": string(share.Status)}), nil
}
