package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// personChange is a governed change of one person, judged: the row before and the row as it would be.
type personChange struct {
	before *people.Person // nil for somebody new
	after  *people.Person
	row    store.Row
}

// finish fills in what every change of a person is held to: whom it is about takes no part, nobody's backup or line
// gains a second hold on a set, approvers are told whom the person could be confused with, and nobody is locked out.
func (c *personChange) finish(ctx context.Context, env Env, view *store.View, in Input, plan *Plan) error {
	if c.after.ID == in.Requester.ID {
		plan.Deny = append(plan.Deny, refusal(people.CodeExcludedSubject, "whom a change is about takes no part in it", "somebody else asks for it"))
	}
	would := personsAfter(view, c.after)
	if err := people.CheckLines(would); err != nil {
		return fieldOfOne(c.after.ID, err)
	}
	find := people.Among(would)
	if err := checkBackups(view, register(view), find); err != nil {
		return err
	}
	plan.Deny = append(plan.Deny, c.strongLines(view, find)...)
	for _, w := range people.Confusions(c.after, would) {
		plan.Lines = append(plan.Lines, Line{Label: "beware", After: c.after.ID + " " + w})
	}
	if len(view.Tampered(custodian.KindPerson)) > 0 {
		plan.Lines = append(plan.Lines, Line{Label: "beware", After: "records of people contradict the ledger: who is in them was not compared"})
	}
	if c.before == nil {
		return nil // one more person takes nothing from any quorum
	}
	lost, err := losesQuorum(ctx, env, view, in, c.after)
	plan.Deny = append(plan.Deny, lost...)
	return err
}

// personsAfter is the register with one person as they would be.
func personsAfter(view *store.View, would *people.Person) []*people.Person {
	out := []*people.Person{would}
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		if p.ID != would.ID {
			out = append(out, p)
		}
	}
	return out
}

// fieldOfOne words an error about a list of people as one about the only person who changes.
func fieldOfOne(id string, err error) error {
	var field *key.FieldError
	if errors.As(err, &field) {
		return &key.FieldError{Field: "manager", Problem: fmt.Sprintf("with this manager of %s there is a %s", id, field.Problem), Allowed: field.Allowed}
	}
	return err
}

// checkBackups checks who stands in for whom over all share sets, in force and pending. What was wrong before is the
// business of quorum health: whoever mends one thing is not stopped by another.
func checkBackups(view *store.View, before, find people.Lookup) error {
	for _, set := range store.All[people.ShareSet](view, custodian.KindShareSet) {
		shares := shareRows(view, set.ID)
		for _, at := range set.Epochs() {
			had := people.BackupConflicts(at, shares, before)
			for _, c := range people.BackupConflicts(at, shares, find) {
				if !slices.Contains(had, c) {
					return &c
				}
			}
		}
	}
	return nil
}

// strongLines refuses a change that gives a reporting line, its manager counted, the quorum of a set (ceremony
// practice, independence check). One that was so before is the business of quorum health.
func (c *personChange) strongLines(view *store.View, find people.Lookup) (out []policies.Reason) {
	before := register(view)
	for _, set := range store.All[people.ShareSet](view, custodian.KindShareSet) {
		shares := shareRows(view, set.ID)
		for _, at := range set.Epochs() {
			out = append(out, newLines(at, people.StrongLines(at, shares, before), people.StrongLines(at, shares, find))...)
		}
	}
	return out
}

// newLines refuses managers whose lines come to hold a quorum.
func newLines(set *people.ShareSet, had, have []string) (out []policies.Reason) {
	for _, manager := range have {
		if !slices.Contains(had, manager) {
			out = append(out, refusal("line_holds_quorum", fmt.Sprintf("the line of %s would hold %d shares of set %s, enough to open it", manager, set.Threshold, set.ID),
				"choose holders of several reporting lines, or first record another manager of them (custodian.alter)"))
		}
	}
	return out
}

// compare lists what differs between two rows of a person, as approvers read it.
func compare(before, after *people.Person) []Line {
	var out []Line
	add := func(label, b, a string) {
		if b != a {
			out = append(out, Line{Label: label, Before: b, After: orNone(a)})
		}
	}
	add("name", before.Name, after.Name)
	add("staff number", before.StaffNumber, after.StaffNumber)
	add("roles", list(before.Roles), list(after.Roles))
	add("groups", list(before.Groups), list(after.Groups))
	add("team", before.Team, after.Team)
	add("site", before.Site, after.Site)
	add("manager", before.Manager, after.Manager)
	add("backup", before.Backup, after.Backup)
	add("organisation", before.Organisation, after.Organisation)
	add("access ends", endWords(before.Until), endWords(after.Until))
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// keyParams are public keys as a proposal brings them.
type keyParams struct {
	ApprovalKey json.RawMessage `json:"approval_key"` // public JWK: EC P-256 or OKP Ed25519
	ShareKey    json.RawMessage `json:"share_key"`    // public JWK on P-256
	Invitation  string          `json:"invitation"`   // by which they were handed in; "" for keys brought directly
	Compared    string          `json:"compared"`     // in-person, by-voice; not-compared in development
}

// broughtKeys are checked public keys with what is said about them.
type broughtKeys struct {
	credential people.Credential
	shareKey   json.RawMessage
	shareKeyID string
	invitation *people.Invitation // nil for keys brought directly
	lines      []Line
}

// read checks keys, that nobody has or had them, and the invitation that is cited.
func (p *keyParams) read(view *store.View, in Input, person string) (*broughtKeys, error) {
	if err := people.CheckCompared("compared", p.Compared, in.Instance.Mode == custodian.Development); err != nil {
		return nil, err
	}
	approval, err := jwk.Parse(p.ApprovalKey)
	if err != nil {
		return nil, &custodian.InputError{Field: "approval_key", Problem: err.Error(), Allowed: "a public JWK: EC P-256 or OKP Ed25519"}
	}
	canonical, err := approval.JSON()
	if err != nil {
		return nil, fmt.Errorf("encoding approval_key: %w", err)
	}
	out := &broughtKeys{credential: people.Credential{ID: approval.Thumbprint(), Alg: approval.SignatureAlg(), Key: canonical, AddedAt: in.Now,
		AddedBy: in.Ceremony, Attested: &people.Attestation{Compared: p.Compared, By: in.Requester.ID, At: in.Now, Invitation: p.Invitation}}}
	out.lines = append(out.lines, Line{Label: "approval key", After: approval.Fingerprint()})
	if len(p.ShareKey) > 0 {
		share, err := jwk.Parse(p.ShareKey)
		if err != nil {
			return nil, &custodian.InputError{Field: "share_key", Problem: err.Error(), Allowed: "a public JWK on P-256"}
		}
		if out.shareKey, err = share.JSON(); err != nil {
			return nil, fmt.Errorf("encoding share_key: %w", err)
		}
		out.shareKeyID = share.Thumbprint()
		out.lines = append(out.lines, Line{Label: "share key", After: share.Fingerprint()})
	}
	if err := people.CheckKeysUnused(persons(view), map[string]string{"approval_key": out.credential.ID, "share_key": out.shareKeyID}); err != nil {
		return nil, err
	}
	out.lines = append(out.lines, Line{Label: "fingerprints", After: fmt.Sprintf("%s says: %s. Compare them yourself before you approve", in.Requester.ID, comparedWords(p.Compared))})
	return out, out.cite(view, in, p.Invitation, person)
}

func comparedWords(compared string) string {
	switch compared {
	case people.ComparedInPerson:
		return "compared with the holder in person"
	case people.ComparedByVoice:
		return "compared with the holder by voice"
	}
	return "NOT compared"
}

func persons(view *store.View) (out []*people.Person) {
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		out = append(out, p)
	}
	return out
}

// cite takes up the invitation by which the keys came: answered, in time, for this person, with these keys.
func (b *broughtKeys) cite(view *store.View, in Input, id, person string) error {
	if id == "" {
		b.lines = append(b.lines, Line{Label: "keys came", After: "directly, with the proposal"})
		return nil
	}
	i, _, err := lookup[people.Invitation](view, custodian.KindInvitation, "invitation", id, "invitation")
	if err != nil {
		return err
	}
	bad := func(problem, allowed string) error {
		return &custodian.InputError{Field: "invitation", Problem: problem, Allowed: allowed}
	}
	switch {
	case !i.Citable(in.Now):
		return bad(fmt.Sprintf("%s is %s", i.ID, invitationState(i, in.Now)), "an invitation answered in the last 30 days and not used yet")
	case i.Person != person:
		return bad(fmt.Sprintf("%s is for %s", i.ID, i.Person), "an invitation for the same person id")
	case !sameKey(i.ApprovalKey, b.credential.ID):
		return &custodian.InputError{Field: "approval_key", Problem: "not the key that was handed in by the invitation", Allowed: "the invited person's key (GET /v1/invitations)"}
	case b.shareKeyID != "" && !sameKey(i.ShareKey, b.shareKeyID):
		return &custodian.InputError{Field: "share_key", Problem: "not the key that was handed in by the invitation", Allowed: "the invited person's key (GET /v1/invitations)"}
	}
	b.invitation = i
	b.lines = append(b.lines, Line{Label: "keys came", After: fmt.Sprintf("by invitation %s of %s to %s, answered %s from %s, with proof of possession",
		i.ID, i.OpenedBy, i.Name, i.AnsweredAt.UTC().Format(time.RFC3339), i.AnsweredFrom)})
	return nil
}

func sameKey(raw json.RawMessage, thumbprint string) bool {
	k, err := jwk.Parse(raw)
	return err == nil && k.Thumbprint() == thumbprint
}

// use marks the invitation, if any, as used up. It must be followed by an entry.
func (b *broughtKeys) use(a acting, tx *store.Tx) error {
	if b.invitation == nil {
		return nil
	}
	i := *b.invitation
	i.Status, i.EndedAt, i.EndedBy = people.InvitationUsed, &a.at, a.ceremony
	return tx.Put(custodian.KindInvitation, i.ID, i)
}

// detail is what the record says of keys that were brought.
func (b *broughtKeys) detail(out map[string]any) map[string]any {
	out["credential"], out["compared"], out["compared_by"] = b.credential.ID, b.credential.Attested.Compared, b.credential.Attested.By
	if b.shareKeyID != "" {
		out["share_key"] = b.shareKeyID
	}
	if b.invitation != nil {
		out["invitation"] = b.invitation.ID
	}
	return out
}

// stamp gives what a plan foresaw the time of the commit.
func (b *broughtKeys) stamp(a acting) people.Credential {
	c := b.credential
	attested := *c.Attested
	c.AddedAt, attested.At, c.Attested = a.at, a.at, &attested
	return c
}

// losesQuorum refuses a change of one person after which something that keeps the instance governable would lack a
// quorum (DESIGN invariant 12).
func losesQuorum(ctx context.Context, env Env, view *store.View, in Input, would *people.Person) ([]policies.Reason, error) {
	return lockOut(ctx, env, view, in, onePerson(would.ID, would))
}

// endWords is the end of an engagement on a statement.
func endWords(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
