package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"

	"conclave/ceremony/issue"
	"conclave/ceremony/quorum"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

// sharesIssue makes a new activation secret for a keystore at work, hands it out as a pending epoch and forgets it.
// The old epoch stays in force until shares.cutover. The three operations differ in what they change: the shares and
// perhaps their holders (shares.reissue), also how many open (quorum.change), or the set itself (shareset.create).
type sharesIssue struct{ name string }

const (
	opReissue      = "shares.reissue"
	opQuorumChange = "quorum.change"
	opCreateSet    = "shareset.create"
)

func (o sharesIssue) Name() string { return o.name }

type reissueParams struct {
	Set     string   `json:"set"`
	Holders []string `json:"holders"` // in the order of the shares; none: who holds them now
}

type quorumChangeParams struct {
	Set       string   `json:"set"`
	Threshold int      `json:"threshold"`
	Holders   []string `json:"holders"`
}

type createSetParams struct {
	ID        string   `json:"id"`
	Keystore  string   `json:"keystore"`
	Threshold int      `json:"threshold"`
	Holders   []string `json:"holders"`
}

// issuing is what is to be issued, to whom, and whose shares open the way.
type issuing struct {
	keystore *key.Keystore
	old      *people.ShareSet // the set in force: its shares are brought
	set      *people.ShareSet // the set that gets the pending epoch: old, or a new one
	row      store.Row        // of set; zero for a new one
	next     *people.ShareSet // set as it will be, at the pending epoch
	holders  []string
}

func (o sharesIssue) read(view *store.View, in Input) (*issuing, error) {
	w := &issuing{}
	threshold, err := 0, error(nil)
	switch o.name {
	case opReissue:
		var p reissueParams
		if p, err = decode[reissueParams](in); err == nil {
			w.set, w.row, err = setRow(view, "set", p.Set)
		}
		if err == nil {
			threshold, w.holders = w.set.Threshold, p.Holders
			if len(w.holders) == 0 {
				w.holders = holdersOf(view, w.set)
			}
		}
	case opQuorumChange:
		var p quorumChangeParams
		if p, err = decode[quorumChangeParams](in); err == nil {
			threshold, w.holders = p.Threshold, p.Holders
			w.set, w.row, err = setRow(view, "set", p.Set)
		}
	default:
		var p createSetParams
		if p, err = decode[createSetParams](in); err == nil {
			threshold, w.holders = p.Threshold, p.Holders
			w.set = &people.ShareSet{ID: p.ID, Keystore: p.Keystore}
			err = cmp.Or(vacant(view, custodian.KindShareSet, "id", p.ID, "share set"), key.CheckID("keystore", p.Keystore))
		}
	}
	if err != nil {
		return nil, err
	}
	if err := opensKeystore(view, w.set); err != nil {
		return nil, err
	}
	if w.keystore, err = keystoreRow(view, "keystore", w.set.Keystore); err != nil {
		return nil, err
	}
	if w.old, _, err = keystoreSet(view, w.keystore); err != nil {
		return nil, err
	}
	return w, w.check(view, threshold, o.name == opReissue)
}

// check holds size and holders of the epoch to come against the register.
func (w *issuing) check(view *store.View, threshold int, sameSize bool) error {
	next := *w.set
	next.Epoch, next.Threshold, next.Total = w.set.NextEpoch(), threshold, len(w.holders)
	next.Scheme, next.Module, next.Pending, next.Past = shamir.Scheme, shamir.Module, nil, nil
	w.next = &next
	if sameSize && next.Total != w.set.Total {
		return &custodian.InputError{Field: "holders", Problem: fmt.Sprintf("%d people for %d shares", next.Total, w.set.Total),
			Allowed: "as many as the set has shares; another number is a change of quorum (" + opQuorumChange + ")"}
	}
	return key.First([]error{next.Validate(), checkHolders(view, &next, w.holders)})
}

func (o sharesIssue) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	w, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: setTarget(w.set, w.row), ShareSet: w.old.ID, ShareEpoch: w.old.Epoch,
		Title: fmt.Sprintf("Issue new shares of keystore %s; the old ones stay in force until the cutover", w.keystore.ID),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "share_set", ID: w.set.ID, Owner: w.keystore.Controller,
			Threshold: w.old.Threshold, Total: w.old.Total}},
		Lines: []Line{
			{Label: "keystore", After: w.keystore.ID},
			{Label: "share set", Before: w.old.ID, After: w.next.ID},
			{Label: "quorum", Before: quorumOf(w.old), After: quorumOf(w.next)},
			{Label: "holders, from share 1", Before: join(holdersOf(view, w.old)), After: join(w.holders)},
		}}
	if p := w.set.Pending; p != nil {
		plan.Lines = append(plan.Lines, Line{Label: "warning", After: fmt.Sprintf("it takes the place of pending epoch %d, whose shares will open nothing", p.Epoch)})
	}
	for _, warning := range w.warnings(view, in) {
		plan.Lines = append(plan.Lines, Line{Label: "warning", After: warning})
	}
	if plan.Deny, err = w.against(env); err != nil {
		return Plan{}, err
	}
	plan.Deny = append(plan.Deny, strongHolders(view, w.old, w.next, w.holders)...)
	lost, err := lockOut(ctx, env, view, in, heldBy(w.old, w.next, w.holders))
	plan.Deny = append(plan.Deny, lost...)
	return plan, err
}

// heldBy supposes that a keystore's set were already held as the epoch to come is.
func heldBy(old, next *people.ShareSet, holders []string) after {
	return after{sets: map[string]quorum.Holding{old.ID: {Threshold: next.Threshold, Total: next.Total, Holders: holders}}}
}

// against says why shares can not be issued now.
func (w *issuing) against(env Env) ([]policies.Reason, error) {
	_, deny, err := rekeyable(env, w.keystore)
	if err != nil {
		return nil, err
	}
	if w.keystore.Status != key.KeystoreRegistered {
		deny = append(deny, refusal("keystore_retired", "keystore "+w.keystore.ID+" is "+w.keystore.Status, "use a registered keystore"))
	}
	if w.set.ID != w.old.ID && w.row.Revision > 0 {
		deny = append(deny, refusal("set_not_in_force", fmt.Sprintf("share set %s does not open keystore %s: %s does", w.set.ID, w.keystore.ID, w.old.ID),
			"issue anew what is in force"))
	}
	return deny, nil
}

// warnings is how well the new epoch would stand losses and pressure, were all its shares confirmed.
func (w *issuing) warnings(view *store.View, in Input) []string {
	h := people.Assess(w.next, people.Assigned(w.next, w.holders, in.Now), register(view), in.Now)
	if len(h.Unacknowledged) > 0 {
		h.Warnings = append(h.Warnings, "duty not acknowledged yet by "+list(h.Unacknowledged))
	}
	return h.Warnings
}

// issued is what the effect leaves for the record: nothing in it is secret.
type issuedEpoch struct {
	Pending people.PendingEpoch `json:"pending"`
	Shares  []people.Share      `json:"shares"`
}

// Effect makes the new secret, hands it out and forgets it. Nothing is stored outside the database, so what was not
// recorded did not happen.
func (o sharesIssue) Effect(_ context.Context, env Env, in Input, effectID string, shares *secret.Bytes) (Effect, error) {
	if shares == nil {
		return Effect{}, errors.New("issuing shares takes the shares in force")
	}
	view := env.Custodian.View()
	w, err := o.read(view, in)
	if err != nil {
		return Effect{}, err
	}
	driver, err := rekeyer(env, w.keystore.ID)
	if err != nil {
		return Effect{}, err
	}
	// What was put together must be the secret itself: a quorum by commitments alone is none.
	if err := driver.CheckActivation(shares); err != nil {
		return Effect{}, fmt.Errorf("the shares brought: %w", err)
	}
	activation, verifier, err := driver.NewActivation()
	if err != nil {
		return Effect{}, err
	}
	defer activation.Wipe()
	order := issue.Order{Set: w.next.ID, Keystore: w.keystore.ID, Epoch: w.next.Epoch, Threshold: w.next.Threshold, RNG: driver.Facts().RNG, At: in.Now}
	find := register(view)
	for _, id := range w.holders {
		order.Holders = append(order.Holders, find(id))
	}
	made, err := issue.Shares(activation, order)
	if err != nil {
		return Effect{}, fmt.Errorf("issuing shares: %w", err)
	}
	set := made.Set
	data, err := json.Marshal(issuedEpoch{Shares: made.Shares, Pending: people.PendingEpoch{Epoch: set.Epoch, Threshold: set.Threshold, Total: set.Total,
		Scheme: set.Scheme, RNG: set.RNG, Module: set.Module, IssuedAt: in.Now, IssuedBy: in.Ceremony, Verifier: verifier}})
	if err != nil {
		return Effect{}, fmt.Errorf("encoding what was issued: %w", err)
	}
	return Effect{ID: effectID, Data: data}, nil
}

func (sharesIssue) Recover(context.Context, Env, Input, string) (Effect, bool, error) {
	return Effect{}, false, nil
}

func (o sharesIssue) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	var made issuedEpoch
	if err := json.Unmarshal(effect.Data, &made, json.RejectUnknownMembers(true)); err != nil {
		return Result{}, fmt.Errorf("reading what was issued: %w", err)
	}
	w, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	sealedTo := func(s people.Share) bool { return fitsHolder(tx.View(), &s) }
	if w.next.Epoch != made.Pending.Epoch || slices.IndexFunc(made.Shares, func(s people.Share) bool { return !sealedTo(s) }) >= 0 {
		return Result{}, fmt.Errorf("share set %s or the keys of its holders changed meanwhile: %w", w.set.ID, ErrOvertaken)
	}
	a := act(env, tx, in, in.Reason)
	if w.set.Pending != nil {
		if err := endPending(a, tx, w.set); err != nil {
			return Result{}, err
		}
	}
	set := w.set
	if w.row.Revision == 0 { // a new one: what is pending is all that there is to it
		set = w.next
		set.Epoch = 0
	}
	made.Pending.IssuedAt = a.at
	set.Pending, set.LastEpoch = &made.Pending, made.Pending.Epoch
	e := a.event(o.name, setEventTarget(set.ID), map[string]any{"keystore": set.Keystore, "epoch": made.Pending.Epoch, "threshold": made.Pending.Threshold,
		"total": made.Pending.Total, "scheme": made.Pending.Scheme, "rng": made.Pending.RNG, "module": made.Pending.Module, "opened_by": w.old.ID})
	if err := a.put(tx, custodian.KindShareSet, set.ID, set, e); err != nil {
		return Result{}, err
	}
	if err := recordIssued(a, tx, made.Shares); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"keystore": set.Keystore, "share_set": set.ID, "epoch": made.Pending.Epoch,
		"confirm": fmt.Sprintf("%d holders confirm their shares, then %s", min(made.Pending.Total, made.Pending.Threshold+1), sharesCutover{}.Name())}), nil
}

// recordIssued stores the lines of fresh shares, an entry each.
func recordIssued(a acting, tx *store.Tx, shares []people.Share) error {
	for i := range shares {
		s := &shares[i]
		s.IssuedAt = a.at
		id := people.ShareID(s.Set, s.Epoch, s.Index)
		e := a.event("share.issue", ledger.Target{Type: "share", ID: id}, map[string]any{"custodian": s.Custodian})
		if err := a.put(tx, custodian.KindShare, id, s, e); err != nil {
			return err
		}
	}
	return nil
}

// fitsHolder reports whether a share is sealed to the keys that its holder has now.
func fitsHolder(view *store.View, s *people.Share) bool {
	p := register(view)(s.Custodian)
	outside, err := shamir.Inspect(s.Sealed)
	return err == nil && p != nil && slices.Equal(outside.KeyIDs, p.ShareKeyIDs())
}

// Undo: nothing was left outside the database; the sealed shares open nothing that exists.
func (sharesIssue) Undo(context.Context, Env, Input, Effect) error { return nil }
