package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// sharesCutover goes over to a pending epoch: its holders bring their new shares, every key version of the keystore is
// wrapped under the new secret, and one transaction replaces all of them, the keystore's verifier and the epoch in
// force. Before it the old epoch works, after it the new one, and at no instant both or neither.
type sharesCutover struct{}

func (sharesCutover) Name() string { return "shares.cutover" }

type setParams struct {
	Set string `json:"set"`
}

// cutting is what a cutover is about.
type cutting struct {
	set      *people.ShareSet // with the pending epoch
	row      store.Row
	next     *people.ShareSet // set at the pending epoch; nil where nothing is pending
	keystore *key.Keystore
	old      *people.ShareSet // the set in force: set itself, or the one that set replaces
}

func (sharesCutover) read(view *store.View, in Input) (*cutting, error) {
	p, err := decode[setParams](in)
	if err != nil {
		return nil, err
	}
	c := &cutting{}
	if c.set, c.row, err = setRow(view, "set", p.Set); err != nil {
		return nil, err
	}
	if err := opensKeystore(view, c.set); err != nil {
		return nil, err
	}
	if c.keystore, err = keystoreRow(view, "keystore", c.set.Keystore); err != nil {
		return nil, err
	}
	if c.old, _, err = keystoreSet(view, c.keystore); err != nil {
		return nil, err
	}
	if c.set.Pending != nil {
		c.next, _ = c.set.At(c.set.Pending.Epoch)
	}
	return c, nil
}

func (o sharesCutover) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	c, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: setTarget(c.set, c.row), ShareSet: c.set.ID,
		Title: fmt.Sprintf("Cut keystore %s over to the new shares; the old ones then open old copies of the database only", c.keystore.ID),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "share_set", ID: c.set.ID, Owner: c.keystore.Controller,
			Threshold: c.set.Threshold, Total: c.set.Total}}}
	if c.next == nil {
		plan.Lines = []Line{{Label: "share set", After: c.set.ID}}
		plan.Deny = append(plan.Deny, refusal("nothing_pending", "share set "+c.set.ID+" has no pending epoch", "issue new shares first ("+opReissue+")"))
		return plan, nil
	}
	plan.ShareEpoch = c.next.Epoch
	plan.Quorum.Target.Threshold, plan.Quorum.Target.Total = c.next.Threshold, c.next.Total
	versions := wrappedIn(view, c.keystore)
	plan.Lines = []Line{
		{Label: "keystore", After: c.keystore.ID},
		{Label: "share set", Before: c.old.ID, After: c.set.ID},
		{Label: "quorum", Before: quorumOf(c.old), After: quorumOf(c.next)},
		{Label: "holders, from share 1", Before: join(holdersOf(view, c.old)), After: join(holdersOf(view, c.next))},
		{Label: "key versions wrapped anew", After: fmt.Sprint(len(versions))},
		{Label: "old shares to be destroyed", After: fmt.Sprint(c.old.Total)},
	}
	_, deny, err := rekeyable(env, c.keystore)
	if err != nil {
		return Plan{}, err
	}
	plan.Deny = append(append(plan.Deny, deny...), inactive(env, c.keystore)...)
	lost, err := lockOut(ctx, env, view, in, heldBy(c.old, c.next, usableHolders(view, c.next)))
	plan.Deny = append(plan.Deny, lost...)
	return plan, err
}

// wrappedIn are the key versions whose material lies in the database, wrapped by a keystore, in order of id. A keystore
// that holds its keys wraps none.
func wrappedIn(view *store.View, keystore *key.Keystore) []*key.Version {
	var out []*key.Version
	if keystore.Capabilities.StoresKeys {
		return out
	}
	for _, v := range store.All[key.Version](view, custodian.KindKeyVersion) {
		if v.Keystore == keystore.ID && len(v.Material.Blob) > 0 {
			out = append(out, v)
		}
		if own, has := v.Material.In(keystore.ID); has { // a key of the group that it is a member of: its copy
			one := *v
			one.Material = own
			out = append(out, &one)
		}
	}
	return out
}

// rewrappedAs is a version's record with material that was wrapped anew by a keystore: the version's, or that of its copy.
func rewrappedAs(view *store.View, v *key.Version, keystore string, now hsm.Material) (*key.Version, error) {
	stored, _, err := store.Get[key.Version](view, custodian.KindKeyVersion, key.VersionID(v.Key, v.Version))
	if err != nil {
		return nil, err
	}
	next := stored.Clone()
	if stored.Keystore == keystore {
		next.Material = now
		return next, nil
	}
	for i := range next.Material.Copies {
		if c := &next.Material.Copies[i]; c.Member == keystore {
			c.Blob, c.Wrapping, c.CheckValue = now.Blob, now.Wrapping, now.CheckValue
		}
	}
	return next, nil
}

// rewrapped is one version's material before and after. Neither is secret.
type rewrapped struct {
	Was []byte       `json:"was"` // blob
	Now hsm.Material `json:"now"`
}

type cutoverEffect struct {
	Epoch    uint32      `json:"epoch"`
	Verifier []byte      `json:"verifier"`
	Recorded []byte      `json:"recorded"` // what the keystore's record holds as its verifier from then on
	Versions []rewrapped `json:"versions"` // in order of version id
}

// Effect gives the driver the new secret and has it wrap every version under it. The driver opens material under
// either until the outcome is recorded or taken back, so that whoever uses keys meanwhile notices nothing.
func (o sharesCutover) Effect(ctx context.Context, env Env, in Input, effectID string, shares *secret.Bytes) (Effect, error) {
	if shares == nil {
		return Effect{}, errors.New("a cutover takes the new shares")
	}
	view := env.Custodian.View()
	c, err := o.read(view, in)
	if err != nil {
		return Effect{}, err
	}
	if c.next == nil {
		return Effect{}, fmt.Errorf("share set %s has no pending epoch", c.set.ID)
	}
	if bad := view.Tampered(custodian.KindKeyVersion); len(bad) > 0 { // what is left out would be lost
		return Effect{}, &store.TamperedError{Kind: custodian.KindKeyVersion, ID: bad[0].ID}
	}
	driver, err := rekeyer(env, c.keystore.ID)
	if err != nil {
		return Effect{}, err
	}
	recorded, err := driver.Stage(ctx, shares, c.set.Pending.Verifier)
	if err != nil {
		return Effect{}, err
	}
	done := cutoverEffect{Epoch: c.next.Epoch, Verifier: c.set.Pending.Verifier, Recorded: recorded}
	for _, v := range wrappedIn(view, c.keystore) {
		now, err := driver.Rewrap(ctx, v.Material)
		if err == nil && now.CheckValue != v.CheckValue {
			err = fmt.Errorf("check value of %s changed: %w", key.VersionID(v.Key, v.Version), hsm.ErrCorrupt)
		}
		if err != nil {
			driver.Unstage()
			return Effect{}, err
		}
		done.Versions = append(done.Versions, rewrapped{Was: v.Material.Blob, Now: now})
	}
	data, err := json.Marshal(done)
	if err != nil {
		driver.Unstage()
		return Effect{}, fmt.Errorf("encoding what was wrapped anew: %w", err)
	}
	return Effect{ID: effectID, Data: data}, nil
}

// Recover: what was not recorded did not happen, and the shares must be brought again. The staged secret, where this
// process still has it, is forgotten.
func (o sharesCutover) Recover(ctx context.Context, env Env, in Input, _ string) (Effect, bool, error) {
	return Effect{}, false, o.Undo(ctx, env, in, Effect{})
}

func (o sharesCutover) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	var done cutoverEffect
	if err := json.Unmarshal(effect.Data, &done, json.RejectUnknownMembers(true)); err != nil {
		return Result{}, fmt.Errorf("reading what was wrapped anew: %w", err)
	}
	c, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if c.next == nil || c.next.Epoch != done.Epoch || !bytes.Equal(c.set.Pending.Verifier, done.Verifier) {
		return Result{}, fmt.Errorf("epoch %d of share set %s is no longer pending", done.Epoch, c.set.ID)
	}
	a := act(env, tx, in, in.Reason)
	if err := putRewrapped(a, tx, c, done.Versions); err != nil {
		return Result{}, err
	}
	unproven, err := supersede(a, tx, c)
	if err != nil {
		return Result{}, err
	}
	if err := putCut(a, tx, c, &done, unproven); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"keystore": c.keystore.ID, "share_set": c.set.ID, "epoch": done.Epoch, "versions": len(done.Versions),
		"old_shares": fmt.Sprintf("%d to be proven destroyed (%s)", unproven, shareDestroyed{}.Name())}), nil
}

// putRewrapped replaces the material of every version, if they are exactly those that were wrapped anew: one that was
// made, destroyed or replaced since would be left under the old secret.
func putRewrapped(a acting, tx *store.Tx, c *cutting, versions []rewrapped) error {
	if bad := tx.View().Tampered(custodian.KindKeyVersion); len(bad) > 0 {
		return &store.TamperedError{Kind: custodian.KindKeyVersion, ID: bad[0].ID}
	}
	now := wrappedIn(tx.View(), c.keystore)
	same := len(now) == len(versions)
	for i := 0; same && i < len(now); i++ {
		same = now[i].Key == versions[i].Now.Key && now[i].Version == versions[i].Now.Version && bytes.Equal(now[i].Material.Blob, versions[i].Was)
	}
	if !same {
		return fmt.Errorf("the key versions of keystore %s are others than were wrapped anew: %w", c.keystore.ID, ErrOvertaken)
	}
	part := 0
	sink := rowSink{tx: tx, event: func(n int) ledger.Entry {
		part++
		return a.part().event("keystore.rewrap", ledger.Target{Type: "keystore", ID: c.keystore.ID},
			map[string]any{"share_set": c.set.ID, "epoch": c.next.Epoch, "versions": n, "of": len(versions), "part": part})
	}}
	for i, v := range now {
		next, err := rewrappedAs(tx.View(), v, c.keystore.ID, versions[i].Now)
		if err != nil {
			return err
		}
		if err := sink.put(custodian.KindKeyVersion, key.VersionID(v.Key, v.Version), next); err != nil {
			return err
		}
	}
	return sink.flush()
}

// supersede retires the shares of the epoch that is left: until their destruction is proven they open old copies.
func supersede(a acting, tx *store.Tx, c *cutting) (unproven int, err error) {
	sink := rowSink{tx: tx, event: func(n int) ledger.Entry {
		return a.part().event("share.supersede", setEventTarget(c.old.ID), map[string]any{"epoch": c.old.Epoch, "shares": n})
	}}
	for _, s := range shareRows(tx.View(), c.old.ID) {
		if s.Epoch != c.old.Epoch || s.Status == people.ShareDestroyed {
			continue
		}
		if unproven++; s.Status != people.ShareLost {
			s.Status = people.ShareSuperseded
		}
		if err := sink.put(custodian.KindShare, people.ShareID(s.Set, s.Epoch, s.Index), s); err != nil {
			return 0, err
		}
	}
	return unproven, sink.flush()
}

// putCut brings the pending epoch into force and writes the new verifier into the keystore's record.
func putCut(a acting, tx *store.Tx, c *cutting, done *cutoverEffect, unproven int) error {
	past := people.PastEpoch{Epoch: c.old.Epoch, Threshold: c.old.Threshold, Total: c.old.Total, IssuedAt: c.old.IssuedAt,
		SupersededAt: a.at, SupersededBy: a.ceremony}
	now, replaced := *c.next, c.old.ID != c.set.ID
	now.Pending, now.LastEpoch, now.Past = nil, 0, c.set.Past
	if replaced {
		old := *c.old
		old.Past, old.ReplacedBy = append(old.Past[:len(old.Past):len(old.Past)], past), now.ID
		if old.Pending != nil {
			if err := endPending(a, tx, &old); err != nil {
				return err
			}
			old.Pending = nil
		}
		e := a.event("shareset.replace", setEventTarget(old.ID), map[string]any{"by": now.ID, "epoch": old.Epoch})
		if err := a.put(tx, custodian.KindShareSet, old.ID, old, e); err != nil {
			return err
		}
	} else {
		now.Past = append(now.Past[:len(now.Past):len(now.Past)], past)
	}
	if err := tx.Put(custodian.KindShareSet, now.ID, now); err != nil {
		return err
	}
	ks := *c.keystore
	ks.Verifier, ks.ShareSet = done.Recorded, now.ID
	ks.GovRevision++
	if ks.SecretExposed != nil && ks.SecretExposed.Until == nil {
		exposed := *ks.SecretExposed
		exposed.Until = &a.at
		ks.SecretExposed = &exposed
	}
	return a.put(tx, custodian.KindKeystore, ks.ID, ks, a.event("shares.cutover", setEventTarget(now.ID), map[string]any{"keystore": ks.ID,
		"epoch": now.Epoch, "threshold": now.Threshold, "total": now.Total, "versions": len(done.Versions), "old_set": c.old.ID, "old_epoch": c.old.Epoch, "old_shares": unproven}))
}

// Settle has the driver go over to the secret that the record now names. Where the process ends before, the next one
// starts from the record: a token's PINs are changed then when it is activated.
func (sharesCutover) Settle(_ context.Context, env Env, in Input, _ Effect) error {
	p, err := decode[setParams](in)
	if err != nil {
		return err
	}
	set, _, err := setRow(env.Custodian.View(), "set", p.Set)
	if err != nil {
		return err
	}
	_, err = Current(env, set.Keystore)
	return err
}

// Undo forgets the staged secret. Where the record names it all the same, because the commit came to be known late,
// the driver has followed before.
func (o sharesCutover) Undo(_ context.Context, env Env, in Input, _ Effect) error {
	c, err := o.read(env.Custodian.View(), in)
	if err != nil {
		return err
	}
	driver, err := rekeyer(env, c.keystore.ID)
	if err != nil {
		return err
	}
	driver.Unstage()
	return nil
}
