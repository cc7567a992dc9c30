package operation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/strictjson"
	"conclave/policies"
)

type acknowledgementParams struct {
	Envelope jsontext.Value `json:"envelope"` // DSSE, signed with the person's own approval key
}

// acknowledgementSign records that a person accepts the duties of a custodian (PCI DSS 4.0.1, 3.7.8).
type acknowledgementSign struct{}

func (acknowledgementSign) Name() string { return "acknowledgement.sign" }

// signed is a verified acknowledgement.
type signed struct {
	person      *people.Person
	row         store.Row
	terms       people.Terms
	from, until time.Time
	envelope    []byte
}

func (o acknowledgementSign) read(view *store.View, in Input) (*signed, error) {
	p, err := decode[acknowledgementParams](in)
	if err != nil {
		return nil, err
	}
	if in.Requester.Kind != identity.Human {
		return nil, &custodian.InputError{Field: "requester", Problem: "not a person", Allowed: "the custodian who signs"}
	}
	s := &signed{envelope: p.Envelope}
	if s.person, s.row, err = personRow(view, "requester", in.Requester.ID); err != nil {
		return nil, err
	}
	payload, err := o.verify(s.person, p.Envelope)
	if err != nil {
		return nil, &custodian.InputError{Field: "envelope", Problem: err.Error(),
			Allowed: "a DSSE envelope of type " + statement.TypeAcknowledgement + ", signed with your own approval key"}
	}
	if err := json.Unmarshal(payload, &s.terms, json.RejectUnknownMembers(true)); err != nil {
		return nil, &custodian.InputError{Field: "envelope", Problem: "its payload is not the terms of an acknowledgement", Allowed: "the members of the form"}
	}
	if s.from, s.until, err = s.terms.Validate(in.Instance.ID, s.person, in.Now); err != nil {
		return nil, within("envelope", err)
	}
	return s, s.checkSets(view)
}

// verify checks form, signature and canonical spelling, and returns what was signed.
func (acknowledgementSign) verify(p *people.Person, envelope []byte) ([]byte, error) {
	parsed, err := dsse.Parse(envelope)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(p.ApprovalKeys, func(c people.Credential) bool { return c.ID == parsed.KeyID() })
	if i < 0 {
		return nil, dsse.ErrOtherCredential
	}
	payload, err := parsed.Verify(statement.TypeAcknowledgement, p.ApprovalKeys[i])
	if err != nil {
		return nil, err
	}
	canonical, err := strictjson.Canonical(payload)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(canonical, payload) {
		return nil, strictjson.ErrNotCanonical
	}
	return payload, nil
}

// checkSets: nobody acknowledges the duty for a share that they do not hold.
func (s *signed) checkSets(view *store.View) error {
	for i, set := range s.terms.ShareSets {
		holds := slices.ContainsFunc(shareRows(view, set), func(share *people.Share) bool { return share.Custodian == s.person.ID })
		if !holds {
			return &custodian.InputError{Field: fmt.Sprintf("envelope.share_sets[%d]", i), Problem: fmt.Sprintf("you hold no share of %q", clean(set)),
				Allowed: "sets that you hold a share of"}
		}
	}
	return nil
}

func (o acknowledgementSign) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	s, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	before := "none"
	if a := s.person.Acknowledgement; a != nil {
		before = fmt.Sprintf("form %s until %s", a.FormVersion, a.ExpiresAt.Format(time.DateOnly))
	}
	return Plan{Target: Target{Type: "person", ID: s.person.ID, GovRevision: s.row.Revision},
		Title: fmt.Sprintf("%s accepts the duties of a key custodian", s.person.ID),
		Lines: []Line{{Label: "acknowledgement", Before: before,
			After: fmt.Sprintf("form %s until %s", s.terms.FormVersion, s.until.Format(time.DateOnly))}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "person", ID: s.person.ID, Owner: s.person.ID}}}, nil
}

func (o acknowledgementSign) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	s, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	p := s.person
	// When it was recorded, not when the signer says: whether a share was held before is judged by it.
	p.Acknowledgement = &people.Acknowledgement{FormVersion: s.terms.FormVersion, SignedAt: tx.Now(), ExpiresAt: s.until, Envelope: s.envelope}
	digest := sha256.Sum256(s.envelope)
	e := a.event("custodian.ack", ledger.Target{Type: "person", ID: p.ID}, map[string]any{"form_version": s.terms.FormVersion,
		"form_sha256": s.terms.FormSHA256, "envelope_sha256": hex.EncodeToString(digest[:]), "expires_at": s.until.Format(time.RFC3339)})
	if err := a.put(tx, custodian.KindPerson, p.ID, p, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"person": p.ID, "form_version": s.terms.FormVersion, "expires_at": s.until.Format(time.RFC3339)}), nil
}
