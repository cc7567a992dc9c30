package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/strictjson"
	"conclave/policies"
)

// Bounds on invitations that are still good for something (ours): each is a door left ajar.
const (
	maxInvitations      = 200
	maxInvitationsOfOne = 5 // for one person id
)

// defaultInvitationHours is how long an invitation can be answered where nothing is said.
const defaultInvitationHours = 7 * 24

type invitationOpenParams struct {
	Person string `json:"person"` // id that the invited has, or is to have
	Name   string `json:"name"`   // for somebody new; of a person of the register it is known
	Hours  int    `json:"hours"`  // to answer; 0 for a week
}

// invitationOpen lets one person hand in public keys. Who opened it is shown its secret, once, and passes it on.
type invitationOpen struct{}

func (invitationOpen) Name() string { return "invitation.open" }

func (invitationOpen) read(view *store.View, in Input) (*people.Invitation, error) {
	p, err := decode[invitationOpenParams](in)
	if err != nil {
		return nil, err
	}
	if p.Hours == 0 {
		p.Hours = defaultInvitationHours
	}
	err = key.First([]error{key.CheckID("person", p.Person), key.CheckText("name", p.Name, 128, true),
		key.CheckRange("hours", p.Hours, 1, people.MaxInvitationHours, "hours, 0 for a week")})
	if err != nil {
		return nil, err
	}
	who, _, err := store.Get[people.Person](view, custodian.KindPerson, p.Person)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if err := key.CheckText("name", p.Name, 128, false); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("reading person %q: %w", p.Person, err)
	case who.Status == people.StatusLeft:
		return nil, &custodian.InputError{Field: "person", Problem: who.ID + " left", Allowed: "an id that nobody had, or that of somebody who is here"}
	case p.Name != "" && p.Name != who.Name:
		return nil, &custodian.InputError{Field: "name", Problem: fmt.Sprintf("%s is %s", who.ID, who.Name), Allowed: "the name in the register, or nothing"}
	default:
		p.Name = who.Name
	}
	return &people.Invitation{Person: p.Person, Name: p.Name, OpenedBy: in.Requester.ID, OpenedWith: foresee(in, "").asked().AskedWith, Ceremony: in.Ceremony, OpenedAt: in.Now,
		ExpiresAt: in.Now.Add(time.Duration(p.Hours) * time.Hour), Status: people.InvitationOpen}, nil
}

func (o invitationOpen) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	i, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "invitation", ID: i.Person}, Title: fmt.Sprintf("Invite %s (%s) to hand in keys", i.Person, i.Name),
		Lines: []Line{{Label: "invited", After: fmt.Sprintf("%s (%s)", i.Person, i.Name)},
			{Label: "answered by", After: i.ExpiresAt.UTC().Format(time.RFC3339)}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "invitation", ID: i.Person}}}
	if i.Person == in.Requester.ID {
		plan.Deny = append(plan.Deny, refusal(people.CodeExcludedSubject, "whom an invitation is for takes no part in it", "somebody else invites"))
	}
	all, own := 0, 0
	for _, other := range store.All[people.Invitation](view, custodian.KindInvitation) {
		if !other.Pending(in.Now) {
			continue
		}
		if all++; other.Person == i.Person {
			own++
		}
	}
	if all >= maxInvitations || own >= maxInvitationsOfOne {
		plan.Deny = append(plan.Deny, refusal("too_many_invitations", fmt.Sprintf("%d invitations are open, %d of them for %s", all, own, i.Person),
			"withdraw some (invitation.withdraw), or wait until they end"))
	}
	return plan, nil
}

func (o invitationOpen) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	i, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	id, hash, once := access.NewInvitation()
	i.ID, i.SecretHash, i.ExpiresAt, i.OpenedAt = id, hash, a.at.Add(i.ExpiresAt.Sub(i.OpenedAt)), a.at
	err = i.Validate()
	if err == nil {
		e := a.event("invitation.open", ledger.Target{Type: "invitation", ID: i.ID}, map[string]any{"person": i.Person, "expires_at": i.ExpiresAt.UTC().Format(time.RFC3339)})
		err = a.put(tx, custodian.KindInvitation, i.ID, i, e)
	}
	if err != nil {
		once.Wipe()
		return Result{}, err
	}
	out := result(map[string]any{"invitation": i.ID, "person": i.Person, "expires_at": i.ExpiresAt.UTC().Format(time.RFC3339)})
	out.Once = once
	return out, nil
}

type invitationWithdrawParams struct {
	Invitation string `json:"invitation"`
	Reason     string `json:"reason"`
}

// invitationWithdraw ends an invitation, answered or not.
type invitationWithdraw struct{}

func (invitationWithdraw) Name() string { return "invitation.withdraw" }

func (invitationWithdraw) read(view *store.View, in Input) (*people.Invitation, store.Row, string, error) {
	p, err := decode[invitationWithdrawParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	i, row, err := lookup[people.Invitation](view, custodian.KindInvitation, "invitation", p.Invitation, "invitation")
	return i, row, reason, err
}

func (o invitationWithdraw) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	i, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "invitation", ID: i.ID, GovRevision: row.Revision}, Title: fmt.Sprintf("Withdraw the invitation of %s (%s)", i.Person, i.Name),
		Lines:  []Line{{Label: "invitation", Before: invitationState(i, in.Now), After: string(people.InvitationWithdrawn)}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "invitation", ID: i.ID}}}
	if i.Status != people.InvitationOpen && i.Status != people.InvitationAnswered {
		plan.Deny = append(plan.Deny, refusal("invitation_ended", "invitation "+i.ID+" is "+string(i.Status), "nothing to do"))
	}
	return plan, nil
}

func (o invitationWithdraw) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	i, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	i.Status, i.EndedAt, i.EndedBy = people.InvitationWithdrawn, &a.at, in.Ceremony
	e := a.event("invitation.withdraw", ledger.Target{Type: "invitation", ID: i.ID}, map[string]any{"person": i.Person})
	if err := a.put(tx, custodian.KindInvitation, i.ID, i, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"invitation": i.ID, "status": string(i.Status)}), nil
}

// invitationState is the status, by date too.
func invitationState(i *people.Invitation, now time.Time) string {
	if !i.Pending(now) && (i.Status == people.InvitationOpen || i.Status == people.InvitationAnswered) {
		return string(i.Status) + ", and its time is over"
	}
	return string(i.Status)
}

// Errors of answering an invitation, told to whoever brought its secret.
var (
	ErrInvitationOver = errors.New("the invitation can not be answered any more")
	ErrInvitationUsed = errors.New("the invitation was answered before, with other keys")
)

// AnswerInvitation judges what an invited person hands in: a Joining, signed with the approval key that it names. It
// returns the step that records it; nil when the very same was handed in before. Whoever calls has compared the
// invitation's secret. Errors: ErrInvitationOver, ErrInvitationUsed, *custodian.InputError, *key.FieldError.
func AnswerInvitation(env Env, view *store.View, id string, envelope []byte, origin string, now time.Time) (*people.Invitation, func(*store.Tx) error, error) {
	i, _, err := store.Get[people.Invitation](view, custodian.KindInvitation, id)
	if err != nil {
		return nil, nil, fmt.Errorf("reading invitation: %w", err)
	}
	joined, err := readJoining(env, i, envelope)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case i.Status == people.InvitationAnswered && bytes.Equal(i.ApprovalKey, joined.ApprovalKey) && bytes.Equal(i.ShareKey, joined.ShareKey):
		return i, nil, nil // the answer was lost, or somebody sent it again: it changes nothing
	case i.Status == people.InvitationAnswered:
		return nil, nil, ErrInvitationUsed
	case !i.Answerable(now):
		return nil, nil, fmt.Errorf("%w: it is %s", ErrInvitationOver, invitationState(i, now))
	}
	err = people.CheckKeysUnused(persons(view), map[string]string{"approval_key": thumbprint(joined.ApprovalKey), "share_key": thumbprint(joined.ShareKey)})
	if err != nil {
		return nil, nil, err
	}
	i.Status, i.AnsweredFrom, i.Envelope = people.InvitationAnswered, ledger.CleanText(origin), envelope
	i.ApprovalKey, i.ShareKey = joined.ApprovalKey, joined.ShareKey
	return i, func(tx *store.Tx) error {
		at := tx.Now()
		i.AnsweredAt = &at
		a := acting{principal: identity.Principal{Kind: identity.Node, ID: env.Custodian.Node(), Origin: i.AnsweredFrom}, policy: env.Policies.Digest(), at: at, ceremony: i.Ceremony}
		e := a.event("invitation.answer", ledger.Target{Type: "invitation", ID: i.ID}, map[string]any{"person": i.Person,
			"credential": thumbprint(i.ApprovalKey), "share_key": thumbprint(i.ShareKey)})
		return a.put(tx, custodian.KindInvitation, i.ID, i, e)
	}, nil
}

func thumbprint(raw []byte) string {
	k, err := jwk.Parse(raw)
	if err != nil {
		return ""
	}
	return k.Thumbprint()
}

// readJoining verifies form, keys and signature of what was handed in.
func readJoining(env Env, i *people.Invitation, envelope []byte) (*people.Joining, error) {
	bad := func(field, problem, allowed string) error {
		return &custodian.InputError{Field: field, Problem: problem, Allowed: allowed}
	}
	parsed, err := dsse.Parse(envelope)
	if err != nil {
		return nil, bad("envelope", err.Error(), "a DSSE envelope of type "+statement.TypeJoining)
	}
	var j people.Joining
	if err := json.Unmarshal(parsed.UnverifiedPayload(), &j, json.RejectUnknownMembers(true)); err != nil {
		return nil, bad("envelope", "its payload is no answer to an invitation", "the documented members")
	}
	approval, err := jwk.Parse(j.ApprovalKey)
	if err != nil {
		return nil, bad("approval_key", err.Error(), "a public JWK: EC P-256 or OKP Ed25519")
	}
	share, err := jwk.Parse(j.ShareKey)
	if err != nil {
		return nil, bad("share_key", err.Error(), "a public JWK on P-256")
	}
	// As the register would keep them: the same checks, and canonical bytes.
	p := &people.Person{ID: i.Person, Name: i.Name, Roles: []people.Role{people.RoleCustodian}, Team: "-", Site: "-", Status: people.StatusActive, ShareKeyID: share.Thumbprint()}
	credential := people.Credential{ID: approval.Thumbprint(), Alg: approval.SignatureAlg()}
	if credential.Key, err = approval.JSON(); err != nil {
		return nil, fmt.Errorf("encoding approval_key: %w", err)
	}
	if p.ShareKey, err = share.JSON(); err != nil {
		return nil, fmt.Errorf("encoding share_key: %w", err)
	}
	p.ApprovalKeys = []people.Credential{credential}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	payload, err := parsed.Verify(statement.TypeJoining, credential)
	if err != nil {
		return nil, bad("envelope", err.Error(), "signed with the approval key that it names")
	}
	canonical, err := strictjson.Canonical(payload)
	if err != nil || !bytes.Equal(canonical, payload) {
		return nil, bad("envelope", "its payload is not canonical", "canonical JSON (RFC 8785)")
	}
	switch {
	case j.Instance != env.Custodian.Instance().ID:
		return nil, bad("instance", "another instance", "the id of this one")
	case j.Invitation != i.ID:
		return nil, bad("invitation", "another invitation", i.ID)
	case j.Person != i.Person:
		return nil, bad("person", "another person", i.Person)
	}
	j.ApprovalKey, j.ShareKey = credential.Key, p.ShareKey
	return &j, nil
}
