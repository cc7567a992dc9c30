package operation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

type credentialRecoverParams struct {
	Person string `json:"person"`
	// IdentityProof is how it was made sure that this is the person: which document, whose knowledge of them.
	IdentityProof string `json:"identity_proof"`
	// Keep are approval keys that were not lost; all others are revoked.
	Keep []string `json:"keep"`
	// KeepShareKey is why the share key on record is still in nobody else's hands. One of this and a new share key is
	// given where there is one on record: it never stays unsaid.
	KeepShareKey string `json:"keep_share_key"`
	keyParams
}

// credentialRecover binds a known person to a new device before a witness: a new approval key, and a new share key
// unless the person says why the one on record stays. Shares sealed to a lost one open a duty each, and so does what was
// made with lost approval keys.
type credentialRecover struct{}

func (credentialRecover) Name() string { return "credential.recover" }

// recovery is a new device, judged.
type recovery struct {
	personChange
	keys   *broughtKeys
	proof  string
	kept   string // why the share key stays
	lost   []string
	duties []duty
}

func (credentialRecover) read(view *store.View, in Input) (*recovery, error) {
	p, err := decode[credentialRecoverParams](in)
	if err != nil {
		return nil, err
	}
	c, err := changeOf(view, "person", p.Person)
	if err != nil {
		return nil, err
	}
	if err := key.CheckText("identity_proof", p.IdentityProof, maxReason, false); err != nil {
		return nil, err
	}
	for i, id := range p.Keep {
		if k := c.before.Credential(id); k == nil || k.Revoked {
			return nil, &custodian.InputError{Field: fmt.Sprintf("keep[%d]", i), Problem: "not a key of theirs that may sign", Allowed: "ids of approval keys of " + c.before.ID + " that were not lost"}
		}
	}
	keys, err := p.keyParams.read(view, in, c.after.ID)
	if err != nil {
		return nil, err
	}
	if err := p.checkShareKey(c.before, keys); err != nil {
		return nil, err
	}
	r := &recovery{personChange: *c, keys: keys, proof: p.IdentityProof, kept: p.KeepShareKey}
	after := r.after
	after.ApprovalKeys = after.Revoke(func(k people.Credential) bool {
		gone := !slices.Contains(p.Keep, k.ID)
		if gone {
			r.lost = append(r.lost, k.ID)
		}
		return gone
	}, in.Now, in.Requester.ID, "lost: "+in.Ceremony)
	after.ApprovalKeys = append(after.ApprovalKeys, keys.credential)
	if keys.shareKeyID != "" {
		if after.ShareKeyID != "" {
			if !slices.Contains(after.FormerShareKeys, after.ShareKeyID) {
				after.FormerShareKeys = append(slices.Clone(after.FormerShareKeys), after.ShareKeyID)
			}
			r.duties = followUps(view, after, people.CauseDevice, in, nil)
		}
		after.ShareKey, after.ShareKeyID = keys.shareKey, keys.shareKeyID
	}
	r.duties = append(r.duties, leftBehind(view, c.before, r.lost, in)...)
	return r, after.Validate()
}

// checkShareKey demands a choice about the share key: whoever lost a device has usually lost both keys on it.
func (p *credentialRecoverParams) checkShareKey(before *people.Person, keys *broughtKeys) error {
	if err := key.CheckText("keep_share_key", p.KeepShareKey, maxReason, true); err != nil {
		return err
	}
	had, brought, kept := before.ShareKeyID != "", keys.shareKeyID != "", p.KeepShareKey != ""
	switch {
	case kept && brought:
		return &custodian.InputError{Field: "keep_share_key", Problem: "given together with a new share key", Allowed: "one of keep_share_key and share_key"}
	case kept && !had:
		return &custodian.InputError{Field: "keep_share_key", Problem: before.ID + " has no share key that could stay", Allowed: "nothing"}
	case had && !kept && !brought:
		return &custodian.InputError{Field: "share_key", Problem: "not said whether the share key on record was lost too",
			Allowed: "a new share key, or in keep_share_key why the one on record stays"}
	}
	return nil
}

func (o credentialRecover) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	r, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	lines := append([]Line{{Label: "identity proof", After: r.proof}}, r.keys.lines...)
	if r.kept != "" {
		lines = append(lines, Line{Label: "share key", Before: r.before.ShareKeyID, After: "STAYS: " + r.kept})
	}
	lines = append(lines, Line{Label: "approval keys", Before: strings.Join(r.lost, ", "), After: fmt.Sprintf("those revoked; %d may sign", len(r.after.Live()))})
	for _, d := range r.duties {
		lines = append(lines, d.line())
	}
	plan := personPlan(r.before, r.row, fmt.Sprintf("Give %s (%s) keys of a new device in place of lost ones", r.before.ID, r.before.Name), lines...)
	err = r.finish(ctx, env, view, in, &plan)
	return plan, err
}

func (o credentialRecover) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	r, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	if err := r.keys.use(a, tx); err != nil {
		return Result{}, err
	}
	if err := seen(a, tx, r.after.ID); err != nil {
		return Result{}, err
	}
	e := a.event("credential.recover", ledger.Target{Type: "person", ID: r.after.ID},
		r.keys.detail(map[string]any{"identity_proof": r.proof, "revoked": r.lost, "share_key_kept": r.kept}))
	if err := a.put(tx, custodian.KindPerson, r.after.ID, r.after, e); err != nil {
		return Result{}, err
	}
	ids, err := openDuties(a, tx, r.duties)
	if err != nil {
		return Result{}, err
	}
	return result(map[string]any{"person": r.after.ID, "credential": r.keys.credential.ID, "revoked": r.lost, "duties": ids}), nil
}
