package operation

import (
	"context"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// maxCleartext bounds the keys that one departure declares to have been seen.
const maxCleartext = 32

type custodianRemoveParams struct {
	Person string `json:"person"`
	Reason string `json:"reason"`
	// Cleartext are keys whose cleartext the person saw: none, as long as keys stay in keystores.
	Cleartext []string `json:"cleartext"`
}

// custodianRemove lets a person leave: their access ends at once, their row stays, and what must follow is opened.
type custodianRemove struct{}

func (custodianRemove) Name() string { return "custodian.remove" }

// departure is a removal, judged.
type departure struct {
	personChange
	reason    string
	cleartext []*key.Key
	duties    []duty
}

func (custodianRemove) read(view *store.View, in Input) (*departure, error) {
	p, err := decode[custodianRemoveParams](in)
	if err != nil {
		return nil, err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, err
	}
	if err := key.CheckRange("cleartext", len(p.Cleartext), 0, maxCleartext, "keys"); err != nil {
		return nil, err
	}
	c, err := changeOf(view, "person", p.Person)
	if err != nil {
		return nil, err
	}
	d := &departure{personChange: *c, reason: reason}
	for i, id := range p.Cleartext {
		k, err := keyRow(view, fmt.Sprintf("cleartext[%d]", i), id)
		if err != nil {
			return nil, err
		}
		d.cleartext = append(d.cleartext, k)
	}
	d.leave(in)
	d.duties = followUps(view, d.after, people.CauseDeparture, in, d.cleartext)
	return d, nil
}

// leave is how the row stands after the departure.
func (d *departure) leave(in Input) {
	at := in.Now
	p := d.after
	p.Status, p.LeftAt, p.LeftReason, p.LeftBy = people.StatusLeft, &at, d.reason, in.Ceremony
	p.ApprovalKeys = p.Revoke(func(people.Credential) bool { return true }, at, in.Requester.ID, "left")
}

func (o custodianRemove) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	d, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := personPlan(d.before, d.row, fmt.Sprintf("%s (%s) leaves: access ends at once, for good", d.before.ID, d.before.Name),
		Line{Label: "status", Before: string(d.before.Status), After: string(people.StatusLeft)}, Line{Label: "reason", After: d.reason},
		Line{Label: "approval keys", Before: fmt.Sprintf("%d may sign", len(d.before.Live())), After: "all revoked"})
	if n := len(ownTokens(view, d.before.ID)); n > 0 {
		plan.Lines = append(plan.Lines, Line{Label: "tokens that stand for them", Before: fmt.Sprintf("%d", n), After: "revoked"})
	}
	for _, duty := range d.duties {
		plan.Lines = append(plan.Lines, duty.line())
	}
	for _, w := range costs(view, d.before.ID, in.Now) {
		plan.Lines = append(plan.Lines, Line{Label: "warning", After: w})
	}
	err = d.finish(ctx, env, view, in, &plan)
	return plan, err
}

// ownTokens are the unrevoked tokens by which a person themselves come in, as auditors do.
func ownTokens(view *store.View, person string) (out []*access.Token) {
	for _, t := range store.All[access.Token](view, custodian.KindToken) {
		if t.Kind == string(identity.Auditor) && t.Subject == person && t.RevokedAt == nil {
			out = append(out, t)
		}
	}
	return out
}

func (o custodianRemove) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	d, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, d.reason)
	tokens := ownTokens(tx.View(), d.after.ID)
	e := a.event("custodian.remove", ledger.Target{Type: "person", ID: d.after.ID}, map[string]any{"tokens_revoked": len(tokens), "duties": len(d.duties)})
	if err := a.put(tx, custodian.KindPerson, d.after.ID, d.after, e); err != nil {
		return Result{}, err
	}
	for _, t := range tokens {
		t.RevokedAt = &a.at
		e := a.event("token.revoke", ledger.Target{Type: "token", ID: t.ID}, map[string]any{"kind": t.Kind, "subject": t.Subject})
		if err := a.put(tx, custodian.KindToken, t.ID, t, e); err != nil {
			return Result{}, err
		}
	}
	ids, err := openDuties(a, tx, d.duties)
	if err != nil {
		return Result{}, err
	}
	return result(map[string]any{"person": d.after.ID, "status": string(d.after.Status), "duties": ids}), nil
}
