package operation

import (
	"context"
	"errors"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// custodyCountersign is the second signature under an entry of the custody log, by the witness whom it names: it was
// so, and counts from now on; or it was not, and somebody is to find out.
type custodyCountersign struct{}

func (custodyCountersign) Name() string { return "custody.countersign" }

type countersignParams struct {
	Entry  string `json:"entry"`
	Digest string `json:"digest"` // of what the entry says, as the witness has seen it
	Agree  bool   `json:"agree"`
	Remark string `json:"remark"`
}

// countersigning is an entry with the form that it is about.
type countersigning struct {
	countersignParams
	entry *people.CustodyEntry
	row   store.Row
	recording
}

func (o custodyCountersign) read(view *store.View, in Input) (*countersigning, error) {
	p, err := decode[countersignParams](in)
	if err != nil {
		return nil, err
	}
	c := &countersigning{countersignParams: p}
	if c.entry, c.row, err = lookup[people.CustodyEntry](view, custodian.KindCustody, "entry", p.Entry, "entry of the custody log"); err != nil {
		return nil, err
	}
	if p.Digest != c.entry.Digest || c.entry.Digest != factsDigest(&c.entry.Facts) {
		return nil, &custodian.InputError{Field: "digest", Problem: "not that of the entry", Allowed: "the digest of what the entry says: " + c.entry.Digest}
	}
	if err := key.CheckText("remark", p.Remark, maxReason, p.Agree); err != nil {
		return nil, err
	}
	c.facts = c.entry.Facts
	if c.form, _, err = store.Get[people.ShareForm](view, custodian.KindShareForm, c.facts.Form); err != nil {
		return nil, fmt.Errorf("reading form %s: %w", c.facts.Form, err)
	}
	if c.set, _, err = setRow(view, "set", c.form.Set); err != nil {
		return nil, err
	}
	c.share, _, err = store.Get[people.Share](view, custodian.KindShare, c.form.Share())
	return c, err
}

func (o custodyCountersign) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	c, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	signer := c.signer(view, in)
	plan := Plan{Target: Target{Type: "custody", ID: c.entry.ID, GovRevision: c.row.Revision}, Quorum: custodyQuorum(&c.facts, signer),
		Title: fmt.Sprintf("%s signs that %s did %s form %s as entry %s says", signer, c.facts.Who, c.facts.Action, c.facts.Form, c.entry.ID)}
	if !c.Agree {
		plan.Title = fmt.Sprintf("%s disputes entry %s of the custody log: %s", signer, c.entry.ID, c.Remark)
	}
	if plan.Deny, err = c.against(view); err != nil {
		return Plan{}, err
	}
	after := c.form.State
	if c.Agree && c.next != nil {
		after = c.next.State
	}
	plan.Lines = custodyLines(&c.facts, c.form.State, after)
	return plan, nil
}

// signer is who may sign: the witness whom the entry names, and in place of one who has left a security officer who
// neither recorded it nor holds the share, so that no form stays as it is for ever.
func (c *countersigning) signer(view *store.View, in Input) string {
	find := register(view)
	if remains(find(c.facts.Witness)) {
		return c.facts.Witness
	}
	asks := in.Requester.ID
	if asks != c.facts.Who && asks != c.share.Custodian && people.Eligible(find(asks), people.RoleSecurityOfficer, in.Now) == nil {
		return asks
	}
	return c.facts.Witness
}

// against judges again what was judged when the entry was recorded: others may have signed since.
func (c *countersigning) against(view *store.View) ([]policies.Reason, error) {
	if c.entry.State != people.EntryPending || c.form.Pending != c.entry.ID {
		return []policies.Reason{refusal("entry_ended", fmt.Sprintf("entry %s is %s", c.entry.ID, c.entry.State), "record it anew (custody.record)")}, nil
	}
	if !c.Agree {
		return nil, nil
	}
	return c.recording.against(view)
}

func (o custodyCountersign) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	c, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	deny, err := c.against(tx.View())
	if err != nil {
		return Result{}, err
	}
	if len(deny) > 0 {
		return Result{}, errors.New(deny[0].Message)
	}
	a := act(env, tx, in, in.Reason)
	c.entry.Signed, c.entry.SignedAt, c.entry.Remark, c.entry.State = a.ceremony, &a.at, c.Remark, people.EntryEffective
	next := c.next
	if !c.Agree {
		own := *c.form
		next, own.Pending = &own, ""
		c.entry.State = people.EntryDisputed
		if c.entry.Finding, err = incident(a, tx, c.set, c.share, "entry "+c.entry.ID+" of the custody log is disputed: "+c.Remark); err != nil {
			return Result{}, err
		}
	}
	if c.hearsay(next) && c.entry.Finding == "" {
		if c.entry.Finding, err = incident(a, tx, c.set, c.share, "form "+next.ID+" is "+string(next.State)+", as "+c.facts.Who+" says: its holder reports the share lost, or the set is issued anew"); err != nil {
			return Result{}, err
		}
	}
	if err := tx.Put(custodian.KindShareForm, next.ID, next); err != nil {
		return Result{}, err
	}
	e := a.event(o.Name(), ledger.Target{Type: "share_form", ID: next.ID}, map[string]any{"entry": c.entry.ID, "action": string(c.facts.Action), "share": next.Share(),
		"who": c.facts.Who, "agree": c.Agree, "was": string(c.form.State), "state": string(next.State), "digest": c.entry.Digest, "recorded": c.entry.Recorded})
	if err := a.put(tx, custodian.KindCustody, c.entry.ID, c.entry, e); err != nil {
		return Result{}, err
	}
	counts, err := c.lose(a, tx, next)
	if err != nil {
		return Result{}, err
	}
	return result(map[string]any{"entry": c.entry.ID, "form": next.ID, "entry_state": string(c.entry.State), "form_state": string(next.State), "share_counts": counts,
		"finding": c.entry.Finding}), nil
}

// shown: a form that shows the share to anybody is lost, or its bag was not what the register says. Somebody else may
// have seen it.
func (c *countersigning) shown(next *people.ShareForm) bool {
	return c.Agree && next.Kind.Clear() && (next.State == people.FormLost || next.State == people.FormCompromised)
}

// hearsay: that it is shown is not its holder's word. Two people who agree on that between them would otherwise take one
// share after the other out of the quorum, for good. It is an incident; what becomes of the share its holder says, or the
// quorum that issues the set anew.
func (c *countersigning) hearsay(next *people.ShareForm) bool {
	return c.shown(next) && c.facts.Who != c.share.Custodian
}

// lose has the share count no more where its holder found that somebody else may have seen it. Reports whether the share
// still counts.
func (c *countersigning) lose(a acting, tx *store.Tx, next *people.ShareForm) (bool, error) {
	switch c.share.Status {
	case people.ShareIssued, people.ShareConfirmed, people.ShareSuperseded:
	default:
		return false, nil
	}
	if !c.shown(next) || c.hearsay(next) {
		return true, nil
	}
	l := &lostShare{shareLostParams: shareLostParams{Set: next.Set, Epoch: next.Epoch, Index: next.Index, Exposed: true,
		Note: shorten("form " + next.ID + " is " + string(next.State) + ": " + c.facts.Purpose)}}
	if err := l.find(tx.View(), a.at); err != nil {
		return true, err
	}
	_, err := l.record(a, tx, "share.lost-form")
	return false, err
}
