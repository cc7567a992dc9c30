package operation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/strictjson"
	"conclave/policies"
)

// shareDestroyed records that a share of an epoch no longer in force is gone: attested by its holder's signature and by
// the witness who was there, who hands it in.
type shareDestroyed struct{}

func (shareDestroyed) Name() string { return "share.destroyed" }

type shareDestroyedParams struct {
	Envelope jsontext.Value `json:"envelope"` // DSSE over Destruction, signed by the holder
}

// Destruction is what a holder signs: which share is gone, how, and who saw it. Every copy is meant, and every key that
// opened it.
type Destruction struct {
	Instance  string `json:"instance"`
	Person    string `json:"person"`
	Witness   string `json:"witness"`
	Set       string `json:"set"`
	Epoch     uint32 `json:"epoch"`
	Index     int    `json:"index"`
	Method    string `json:"method"`
	Destroyed string `json:"destroyed_at"` // RFC 3339, whole seconds, UTC
	Version   int    `json:"v"`            // 1
}

// attested is a verified attestation.
type attested struct {
	Destruction
	holder *people.Person
	set    *people.ShareSet
	share  *people.Share
	row    store.Row
	at     time.Time
	digest string
}

func (o shareDestroyed) read(view *store.View, in Input) (*attested, error) {
	p, err := decode[shareDestroyedParams](in)
	if err != nil {
		return nil, err
	}
	bad := func(problem, allowed string) error {
		return &custodian.InputError{Field: "envelope", Problem: problem, Allowed: allowed}
	}
	const form = "a DSSE envelope of type " + statement.TypeDestruction + ", signed with the holder's approval key"
	parsed, err := dsse.Parse(p.Envelope)
	if err != nil {
		return nil, bad(err.Error(), form)
	}
	d := &attested{}
	claim := parsed.UnverifiedPayload()
	if strictjson.CheckCanonical(claim) != nil || json.Unmarshal(claim, &d.Destruction, json.RejectUnknownMembers(true)) != nil || d.Version != 1 {
		return nil, bad("its payload is not an attestation of destruction", form)
	}
	sum := sha256.Sum256(p.Envelope)
	d.digest = hex.EncodeToString(sum[:])
	if d.holder, _, err = personRow(view, "envelope.person", d.Person); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(d.holder.ApprovalKeys, func(c people.Credential) bool { return c.ID == parsed.KeyID() && !c.Revoked })
	if i < 0 {
		return nil, bad("signed with a key that is not the holder's", form)
	}
	if _, err := parsed.Verify(statement.TypeDestruction, d.holder.ApprovalKeys[i]); err != nil {
		return nil, bad(err.Error(), form)
	}
	return d, d.check(view, in)
}

// check holds the attestation against who hands it in and against the custody register.
func (d *attested) check(view *store.View, in Input) error {
	var err error
	if d.set, _, err = setRow(view, "envelope.set", d.Set); err != nil {
		return err
	}
	errAt := error(nil)
	if d.at, err = time.Parse(time.RFC3339, d.Destroyed); err != nil || d.at.After(in.Now) {
		errAt = &key.FieldError{Field: "envelope.destroyed_at", Problem: "not a time that has come", Allowed: "when it was destroyed, RFC 3339, UTC"}
	}
	var errWho error
	switch {
	case d.Instance != in.Instance.ID:
		errWho = &key.FieldError{Field: "envelope.instance", Problem: "another instance", Allowed: in.Instance.ID}
	case d.Witness != in.Requester.ID:
		errWho = &key.FieldError{Field: "envelope.witness", Problem: "not who hands it in", Allowed: "the witness hands in the attestation"}
	case d.Witness == d.Person:
		errWho = &key.FieldError{Field: "envelope.witness", Problem: "the holder themselves", Allowed: "somebody else"}
	}
	err = key.First([]error{errWho, errAt,
		key.CheckRange("envelope.index", d.Index, 1, people.MaxShares, "(shares count from 1)"),
		key.CheckRange("envelope.epoch", int(d.Epoch), 1, 1<<31-1, "(epochs count from 1)"),
		key.CheckText("envelope.method", d.Method, maxReason, false),
	})
	if err != nil {
		return err
	}
	id := people.ShareID(d.Set, d.Epoch, d.Index)
	d.share, d.row, err = store.Get[people.Share](view, custodian.KindShare, id)
	if errors.Is(err, store.ErrNotFound) || (err == nil && d.share.Custodian != d.Person) {
		return &custodian.InputError{Field: "envelope.index", Problem: id + " is not in the custody of " + clean(d.Person), Allowed: "the holder's own share"}
	}
	return err
}

func (o shareDestroyed) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	d, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	id := people.ShareID(d.Set, d.Epoch, d.Index)
	return Plan{Target: Target{Type: "share", ID: id, GovRevision: d.row.Revision},
		Title: fmt.Sprintf("%s and %s attest that share %d of set %s, epoch %d, is destroyed", d.Person, d.Witness, d.Index, d.Set, d.Epoch),
		Lines: []Line{{Label: "share " + id, Before: string(d.share.Status), After: string(people.ShareDestroyed)},
			{Label: "how", After: d.Method}, {Label: "when", After: d.Destroyed}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "share", ID: id, Owner: d.Person, Threshold: d.set.Threshold, Total: d.set.Total}},
		Deny:   d.against()}, nil
}

// against says why the attestation can not be true or changes nothing. A key that its holder still has opens the
// share that old copies of the database hold, whatever was shredded.
func (d *attested) against() []policies.Reason {
	id := people.ShareID(d.Set, d.Epoch, d.Index)
	if !d.set.Outstanding(d.share) {
		return []policies.Reason{refusal("share_in_use", fmt.Sprintf("share %s is %s and its set at epoch %d: its destruction is not asked for", id, d.share.Status, d.set.Epoch),
			"attest it for shares of epochs no longer in force, once each")}
	}
	if err := people.Present(d.holder); err != nil {
		return []policies.Reason{refusal(people.CodeLeft, err.Error(), "only who is there can attest it; the share stays unproven")}
	}
	outside, err := shamir.Inspect(d.share.Sealed)
	for _, kid := range d.holder.ShareKeyIDs() {
		if err != nil || slices.Contains(outside.KeyIDs, kid) {
			return []policies.Reason{refusal("key_still_opens", fmt.Sprintf("%s still has key %s, which opens share %s in an old copy of the database", d.Person, clean(kid), id),
				"move the shares in force to a new key first (share.move), then destroy the old key with all its copies")}
		}
	}
	return nil
}

func (o shareDestroyed) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	d, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if against := d.against(); len(against) > 0 {
		return Result{}, errors.New(against[0].Message)
	}
	a := act(env, tx, in, in.Reason)
	id := people.ShareID(d.Set, d.Epoch, d.Index)
	was := d.share.Status
	d.share.Status, d.share.DestroyedAt, d.share.Sealed = people.ShareDestroyed, &d.at, ""
	e := a.event(o.Name(), ledger.Target{Type: "share", ID: id}, map[string]any{"custodian": d.Person, "witness": d.Witness, "method": d.Method,
		"destroyed_at": d.Destroyed, "was": string(was), "envelope_sha256": d.digest})
	if err := a.put(tx, custodian.KindShare, id, d.share, e); err != nil {
		return Result{}, err
	}
	left := 0
	for _, s := range shareRows(tx.View(), d.Set) {
		if s.Epoch == d.Epoch && d.set.Outstanding(s) {
			left++
		}
	}
	return result(map[string]any{"share": id, "status": string(people.ShareDestroyed), "unproven": left}), nil
}
