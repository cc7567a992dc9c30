package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/strictjson"
	"conclave/policies"
)

type shareMoveParams struct {
	ShareKey       jsontext.Value `json:"share_key"`        // public JWK: the key of the new device
	BackupShareKey jsontext.Value `json:"backup_share_key"` // public JWK kept in a safe; none: no backup from now on
	Shares         []movedShare   `json:"shares"`           // every share in use that the person holds
	Reason         string         `json:"reason"`
}

// movedShare is one share, sealed anew by its holder.
type movedShare struct {
	Set       string `json:"set"`
	Epoch     uint32 `json:"epoch"`
	Index     int    `json:"index"`
	Sealed    string `json:"sealed"`
	Signature []byte `json:"signature"` // shamir.SignMove
}

// shareMove takes a holder's shares to other keys: a new device, or a backup key beside it. The shares are the same;
// their holder opens them, seals them anew and proves with each that they had it. Nothing is revealed to anybody.
type shareMove struct{}

func (shareMove) Name() string { return "share.move" }

// moving is what is to be stored.
type moving struct {
	reason string
	before *people.Person
	person *people.Person // as it will be
	row    store.Row
	shares []*people.Share // as they will be
}

func (o shareMove) read(view *store.View, in Input) (*moving, error) {
	p, err := decode[shareMoveParams](in)
	if err != nil {
		return nil, err
	}
	if in.Requester.Kind != identity.Human {
		return nil, &custodian.InputError{Field: "requester", Problem: "not a person", Allowed: "the holder of the shares"}
	}
	m := &moving{}
	if m.reason, err = why("reason", p.Reason, in); err != nil {
		return nil, err
	}
	if m.before, m.row, err = personRow(view, "requester", in.Requester.ID); err != nil {
		return nil, err
	}
	next := *m.before
	m.person = &next
	if next.ShareKey, next.ShareKeyID, err = openingKey("share_key", p.ShareKey); err != nil {
		return nil, err
	}
	next.BackupShareKey, next.BackupShareKeyID = nil, ""
	if len(p.BackupShareKey) > 0 {
		if next.BackupShareKey, next.BackupShareKeyID, err = openingKey("backup_share_key", p.BackupShareKey); err != nil {
			return nil, err
		}
	}
	next.FormerShareKeys = m.former()
	if err := key.First([]error{next.Validate(), m.unused(view)}); err != nil {
		return nil, err
	}
	return m, m.takeShares(view, p.Shares)
}

// openingKey reads a public key in its canonical spelling.
func openingKey(field string, raw jsontext.Value) ([]byte, string, error) {
	canonical, err := strictjson.Canonical(raw)
	if err != nil {
		return nil, "", &key.FieldError{Field: field, Problem: "not readable", Allowed: "a public JWK on P-256"}
	}
	k, err := jwk.Parse(canonical)
	if err != nil {
		return nil, "", &key.FieldError{Field: field, Problem: err.Error(), Allowed: "a public JWK on P-256"}
	}
	return canonical, k.Thumbprint(), nil
}

// unused refuses keys that are or were anybody's, but for those that the person has now. One that was given up once is
// not taken up again: old copies hold shares that it opens, and its destruction may have been attested since.
func (m *moving) unused(view *store.View) error {
	for i, id := range m.person.ShareKeyIDs() {
		all := persons(view)
		if slices.Contains(m.before.ShareKeyIDs(), id) {
			all = slices.DeleteFunc(all, func(p *people.Person) bool { return p.ID == m.person.ID })
		}
		if err := people.CheckKeysUnused(all, map[string]string{[]string{"share_key", "backup_share_key"}[i]: id}); err != nil {
			return err
		}
	}
	return nil
}

// former are the keys that were given up, those of this move among them.
func (m *moving) former() []string {
	out := slices.Clone(m.before.FormerShareKeys)
	for _, id := range m.before.ShareKeyIDs() {
		if !slices.Contains(m.person.ShareKeyIDs(), id) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// takeShares holds the sealed shares against the register: each usable share of the person once, sealed to exactly the
// new keys, with a proof of possession that binds both.
func (m *moving) takeShares(view *store.View, given []movedShare) error {
	want := map[string]*people.Share{}
	for _, s := range store.All[people.Share](view, custodian.KindShare) {
		if s.Custodian == m.person.ID && inUse(view, s) {
			want[people.ShareID(s.Set, s.Epoch, s.Index)] = s
		}
	}
	for i, g := range given {
		field := fmt.Sprintf("shares[%d]", i)
		id := people.ShareID(g.Set, g.Epoch, g.Index)
		share := want[id]
		if share == nil {
			return &custodian.InputError{Field: field, Problem: fmt.Sprintf("%q is no share of yours in use, or given twice", clean(id)), Allowed: "each of your shares in use, once"}
		}
		delete(want, id)
		outside, err := shamir.Inspect(g.Sealed)
		set := shamir.Set{ID: share.Set, Epoch: share.Epoch}
		if err != nil || outside.Set != set || outside.Index != share.Index || !slices.Equal(outside.KeyIDs, m.person.ShareKeyIDs()) {
			return &custodian.InputError{Field: field + ".sealed", Problem: "not this share sealed to the keys given", Allowed: "the share sealed to share_key, then to backup_share_key where there is one"}
		}
		if err := shamir.VerifyMove(share.Commitment, set, share.Index, m.before.ShareKeyID, g.Sealed, g.Signature); err != nil {
			return &custodian.InputError{Field: field + ".signature", Problem: err.Error(), Allowed: "a signature with the share itself, over its new sealing and the key that it leaves"}
		}
		share.Sealed = g.Sealed
		m.shares = append(m.shares, share)
	}
	for id := range want {
		return &custodian.InputError{Field: "shares", Problem: id + " is missing", Allowed: "all your shares in use: none may be left to a key that is given up"}
	}
	return nil
}

// inUse reports whether a share is of the epoch in force or pending of its set, and not lost.
func inUse(view *store.View, s *people.Share) bool {
	set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, s.Set)
	if err != nil {
		return false
	}
	at, ok := set.At(s.Epoch)
	return ok && s.Usable(at)
}

func (o shareMove) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	m, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "person", ID: m.person.ID, GovRevision: m.row.Revision},
		Title: fmt.Sprintf("%s seals their shares anew, to other keys", m.person.ID),
		Lines: []Line{
			{Label: "person", After: fmt.Sprintf("%s (%s)", m.person.ID, m.person.Name)},
			{Label: "share key", Before: m.before.ShareKeyID, After: m.person.ShareKeyID},
			{Label: "backup share key", Before: m.before.BackupShareKeyID, After: m.person.BackupShareKeyID}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "person", ID: m.person.ID, Owner: m.person.ID}}}
	for _, s := range m.shares {
		plan.Lines = append(plan.Lines, Line{Label: "share " + people.ShareID(s.Set, s.Epoch, s.Index), After: "the same, sealed to these keys"})
	}
	if slices.Equal(m.before.ShareKeyIDs(), m.person.ShareKeyIDs()) {
		plan.Deny = append(plan.Deny, refusal("no_change", "the shares are sealed to these keys already", "nothing to do"))
	}
	return plan, nil
}

func (o shareMove) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	m, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if slices.Equal(m.before.ShareKeyIDs(), m.person.ShareKeyIDs()) {
		return Result{}, errors.New("the shares are sealed to these keys already")
	}
	a := act(env, tx, in, m.reason)
	for _, s := range m.shares {
		s.MovedAt = &a.at
		id := people.ShareID(s.Set, s.Epoch, s.Index)
		e := a.event(o.Name(), ledger.Target{Type: "share", ID: id}, map[string]any{"custodian": s.Custodian,
			"from": m.before.ShareKeyIDs(), "to": m.person.ShareKeyIDs()})
		if err := a.put(tx, custodian.KindShare, id, s, e); err != nil {
			return Result{}, err
		}
	}
	e := a.event("custodian.share-key", ledger.Target{Type: "person", ID: m.person.ID}, map[string]any{
		"from": m.before.ShareKeyIDs(), "to": m.person.ShareKeyIDs(), "shares": len(m.shares)})
	if err := a.put(tx, custodian.KindPerson, m.person.ID, m.person, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"person": m.person.ID, "share_key": m.person.ShareKeyID, "backup_share_key": m.person.BackupShareKeyID, "shares": len(m.shares)}), nil
}
