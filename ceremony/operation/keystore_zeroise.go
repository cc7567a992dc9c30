package operation

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// maxZeroised bounds the key versions that one statement destroys (ours); more are moved or destroyed before.
const maxZeroised = 16 * ledger.MaxRows

type keystoreZeroiseParams struct {
	Keystore string `json:"keystore"`
	Reason   string `json:"reason,omitzero"`
	// Unreadable is what is destroyed; filled in when it is proposed, so that it is signed.
	Unreadable *unreadable `json:"unreadable,omitzero"`
}

// unreadable is what approvers sign of the key versions that are gone afterwards: their number, the first of them, and
// the digest of the whole list.
type unreadable struct {
	Versions int       `json:"versions"`
	Keys     []string  `json:"keys,omitempty"`   // the first 20 versions, in order
	SHA256   string    `json:"sha256,omitempty"` // of the list: one line "version check value" each
	AsOf     time.Time `json:"as_of"`
}

// keystoreZeroise destroys every key version in a keystore, and empties the token that it is. The shares prove the quorum
// and open nothing; it waits, cancellable by one person, while no new version is made there.
type keystoreZeroise struct{}

func (keystoreZeroise) Name() string { return "keystore.zeroise" }

// Deferred: the keystore has to be active when it happens, which is another ceremony.
func (keystoreZeroise) Deferred() {}

func (keystoreZeroise) read(view *store.View, in Input) (p keystoreZeroiseParams, record *key.Keystore, err error) {
	if p, err = decode[keystoreZeroiseParams](in); err != nil {
		return p, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, err
	}
	if record, err = keystoreRow(view, "keystore", p.Keystore); err == nil && record.Group != nil {
		err = &custodian.InputError{Field: "keystore", Problem: fmt.Sprintf("%s is a group, which no shares open", record.ID), Allowed: "a keystore with a share set; members leave a group first (group.remove)"}
	}
	return p, record, err
}

// inKeystore are the key versions with material in a keystore, in order.
func inKeystore(view *store.View, id string) ([]*key.Version, error) {
	if bad := view.Tampered(custodian.KindKeyVersion); len(bad) > 0 { // one that is hidden might be in it
		return nil, &store.TamperedError{Kind: custodian.KindKeyVersion, ID: bad[0].ID}
	}
	var out []*key.Version
	for _, v := range store.All[key.Version](view, custodian.KindKeyVersion) {
		if v.Keystore == id && v.State.HasMaterial() {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b *key.Version) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), cmp.Compare(a.Version, b.Version))
	})
	return out, nil
}

func unreadableOf(versions []*key.Version, asOf time.Time) *unreadable {
	out := &unreadable{Versions: len(versions), AsOf: asOf.UTC().Truncate(time.Millisecond)}
	h := sha256.New()
	for i, v := range versions {
		id := key.VersionID(v.Key, v.Version)
		fmt.Fprintf(h, "%s %s\n", id, v.CheckValue)
		if i < keysNamed {
			out.Keys = append(out.Keys, id)
		}
	}
	if len(versions) > 0 {
		out.SHA256 = hex.EncodeToString(h.Sum(nil))
	}
	return out
}

// Pin writes down what becomes unreadable.
func (o keystoreZeroise) Pin(_ context.Context, _ Env, view *store.View, in Input) ([]byte, error) {
	p, record, err := o.read(view, in)
	if err != nil {
		return nil, err
	}
	if p.Unreadable != nil {
		return nil, &custodian.InputError{Field: "unreadable", Problem: "given", Allowed: "nothing: it is filled in"}
	}
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return nil, err
	}
	p.Unreadable = unreadableOf(versions, in.Now)
	return custodian.Detail(p), nil
}

func (o keystoreZeroise) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, record, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return Plan{}, err
	}
	plan := keystorePlan(record, fmt.Sprintf("Zeroise keystore %s: what is under the %s in it can never be read again", record.ID, amount.Of(len(versions), "key version")))
	set, _, err := keystoreSet(view, record)
	if err != nil {
		return Plan{}, err
	}
	plan.ShareSet = set.ID
	plan.Quorum.Target.Threshold, plan.Quorum.Target.Total = set.Threshold, set.Total
	if record.Token != nil {
		plan.Lines = append(plan.Lines, deviceLines(&record.Token.Device)...)
		plan.Lines = append(plan.Lines, Line{Label: "token", After: "erased, objects of others in it too"})
	}
	lines, deny, err := o.destroyed(view, in, versions)
	if err != nil {
		return Plan{}, err
	}
	plan.Lines = append(append(plan.Lines, lines...), Line{Label: "status", Before: record.Status, After: key.KeystoreZeroised}, Line{Label: "reason", After: p.Reason})
	plan.Deny = deny
	if record.Status != key.KeystoreRegistered {
		plan.Deny = append(plan.Deny, refusal("keystore_retired", "keystore "+record.ID+" is "+record.Status, "nothing to do"))
		return plan, nil
	}
	plan.Deny = append(append(plan.Deny, p.differs(versions, in)...), memberStays(record)...)
	lost, err := withoutKeystore(ctx, env, view, record, in)
	plan.Deny = append(plan.Deny, lost...)
	if err == nil && record.Token != nil && record.Initialised() {
		plan.Deny = append(plan.Deny, inactive(env, record)...)
	}
	return plan, err
}

// differs refuses what was not signed: before the quorum any difference, while it waits whatever came in since.
func (p *keystoreZeroiseParams) differs(versions []*key.Version, in Input) []policies.Reason {
	if p.Unreadable == nil {
		return nil // it is being asked for
	}
	if in.ApprovedAt.IsZero() {
		if now := unreadableOf(versions, p.Unreadable.AsOf); now.SHA256 != p.Unreadable.SHA256 {
			return []policies.Reason{refusal("unreadable_differs", fmt.Sprintf("%d other key versions are in it than when it was proposed", now.Versions), "propose it again")}
		}
		return nil
	}
	for _, v := range versions {
		if v.GeneratedAt.After(p.Unreadable.AsOf) {
			return []policies.Reason{refusal("unreadable_differs", key.VersionID(v.Key, v.Version)+" came in after it was proposed", "propose it again")}
		}
	}
	return nil
}

// destroyed tells what is destroyed and what was protected by it, and refuses what may not be.
func (keystoreZeroise) destroyed(view *store.View, in Input, versions []*key.Version) ([]Line, []policies.Reason, error) {
	lines := []Line{{Label: "key versions destroyed", After: fmt.Sprint(len(versions))}}
	var deny []policies.Reason
	if len(versions) > maxZeroised {
		deny = append(deny, refusal("too_many_versions", fmt.Sprintf("%d key versions are in it, one statement destroys at most %d", len(versions), maxZeroised),
			"move keys elsewhere (key.move), or destroy versions (key.destroy), before"))
	}
	for i, v := range versions {
		k, err := keyRow(view, "key", v.Key)
		if err != nil {
			return nil, nil, err
		}
		_, data, err := free(view, k, v, in.Now)
		if err != nil {
			return nil, nil, err
		}
		if i < maxZeroised {
			after := "destroyed"
			if len(data) > 0 {
				after += "; data under it: " + strings.Join(data, "; ")
			}
			lines = append(lines, Line{Label: key.VersionID(v.Key, v.Version) + ", check value " + v.CheckValue, Before: string(v.State), After: after})
		}
		on, err := holdsOn(view, k, v)
		if err != nil {
			return nil, nil, err
		}
		against, err := onHold(view, on...)
		if err != nil {
			return nil, nil, err
		}
		if deny = append(deny, against...); v.Suspected {
			deny = append(deny, refusal(key.CodeFindingOpen, key.VersionID(v.Key, v.Version)+" is suspended on a suspicion that nobody has judged", "confirm it (key.compromise) or clear it (key.resume) first"))
		}
	}
	return lines, deny[:min(len(deny), keysNamed)], nil
}

// zeroising refuses new versions in a keystore that people have decided to zeroise.
func zeroising(env Env, keystore string) []policies.Reason {
	if env.Decided == nil {
		return nil
	}
	if id := env.Decided(keystoreZeroise{}.Name(), Target{Type: "keystore", ID: keystore}); id != "" {
		return []policies.Reason{refusal("keystore_zeroising", fmt.Sprintf("keystore %s is to be zeroised (%s)", keystore, id), "use another keystore, or cancel the ceremony")}
	}
	return nil
}

// Effect empties the token. In other keystores the keys are the records, which Complete changes.
func (o keystoreZeroise) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	_, record, err := o.read(env.Custodian.View(), in)
	if err != nil {
		return Effect{}, err
	}
	eraser, found, err := o.emptied(ctx, env, record)
	if err == nil && !found && eraser != nil {
		err = eraser.Erase(ctx)
	}
	if err != nil {
		return Effect{}, err
	}
	return Effect{ID: effectID}, nil
}

// emptied reports whether the device of a keystore is empty; a keystore that is no device has nothing to empty.
func (keystoreZeroise) emptied(ctx context.Context, env Env, record *key.Keystore) (hsm.Eraser, bool, error) {
	driver, err := Current(env, record.ID)
	if err != nil {
		return nil, false, err
	}
	eraser, ok := driver.(hsm.Eraser)
	switch {
	case !ok && driver.Capabilities().StoresKeys:
		return nil, false, fmt.Errorf("emptying keystore %s: %w", record.ID, hsm.ErrUnsupported)
	case !ok || !record.Initialised():
		return nil, true, nil
	}
	erased, err := eraser.Erased(ctx)
	return eraser, erased, err
}

// Recover: whether the token is empty, it says itself.
func (o keystoreZeroise) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	_, record, err := o.read(env.Custodian.View(), in)
	if err != nil {
		return Effect{}, false, err
	}
	_, found, err := o.emptied(ctx, env, record)
	return Effect{ID: effectID}, found, err
}

func (o keystoreZeroise) Complete(_ context.Context, env Env, tx *store.Tx, in Input, _ Effect) (Result, error) {
	p, record, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	versions, err := inKeystore(tx.View(), record.ID)
	if err != nil {
		return Result{}, err
	}
	if record.Status != key.KeystoreRegistered || p.Unreadable == nil {
		return Result{}, errors.New("keystore " + record.ID + " is " + record.Status)
	}
	a := act(env, tx, in, p.Reason)
	for start := 0; start < len(versions); {
		end := start
		for end < len(versions) && versions[end].Key == versions[start].Key {
			end++
		}
		if err := zeroiseKey(a, env, tx, in, record, versions[start:end]); err != nil {
			return Result{}, err
		}
		start = end
	}
	if err := endWrapping(a, tx, record); err != nil {
		return Result{}, err
	}
	ks := *record
	ks.Status, ks.RetiredAt = key.KeystoreZeroised, a.at
	ks.GovRevision++
	e := a.event("keystore.zeroise", ledger.Target{Type: "keystore", ID: ks.ID}, map[string]any{"driver": ks.Driver, "share_set": ks.ShareSet, "versions": len(versions),
		"signed_versions": p.Unreadable.Versions, "signed_sha256": p.Unreadable.SHA256, "node": env.Custodian.Node()})
	return result(map[string]any{"keystore": ks.ID, "status": ks.Status, "versions": len(versions)}), a.put(tx, custodian.KindKeystore, ks.ID, &ks, e)
}

// zeroiseKey records the end of versions of one key: those in use are deactivated first, as the life cycle has it, by the
// same decision. That data under them is lost, and that nothing replaces them, is what was signed. A hold that was set
// while the device was emptied changes nothing any more: the record says what is so.
func zeroiseKey(a acting, env Env, tx *store.Tx, in Input, record *key.Keystore, versions []*key.Version) error {
	k, err := keyRow(tx.View(), "key", versions[0].Key)
	if err != nil {
		return err
	}
	var changed []*key.Version
	for _, v := range versions {
		next := v
		facts := key.Facts{NoDependents: true, Reprotected: true, NoLegalHold: true, ReplacementActive: true, FindingClosed: true, NeverUsed: neverActive(v),
			ApprovedAt: in.ApprovedAt, PairMoves: true}
		if inUse := v.State == key.Active || v.State == key.Suspended; inUse && v.Type.AtEnd() == key.SetK {
			if next, err = moveTo(next, key.Deactivated, a, facts); err != nil {
				return err
			}
		}
		if next, err = moveTo(next, key.Destroyed, a, facts); err != nil {
			return err
		}
		env.Custodian.Forget(k.ID, v.Version)
		changed = append(changed, next)
	}
	return putChanged(a, tx, "key.destroy", k, changed, map[string]any{"cause": "zeroised", "keystore": record.ID})
}

// endWrapping ends what keys to be imported were wrapped for.
func endWrapping(a acting, tx *store.Tx, record *key.Keystore) error {
	for _, w := range store.All[key.WrappingKey](tx.View(), custodian.KindWrappingKey) {
		if w.Keystore != record.ID || w.DestroyedAt != nil {
			continue
		}
		next := w
		if w.Status == key.WrappingOpen {
			next = w.End(key.WrappingWithdrawn, "", a.at, false)
		} else {
			next = w.Destroyed(a.at)
		}
		if err := a.put(tx, custodian.KindWrappingKey, w.ID, next, a.event("wrappingkey.destroy", wrappingTarget(w), map[string]any{"keystore": w.Keystore, "cause": "zeroised"})); err != nil {
			return err
		}
	}
	return nil
}

// Undo: there is none. The ceremony is shown as indeterminate until its record is made.
func (keystoreZeroise) Undo(context.Context, Env, Input, Effect) error { return errGone }

// Settle closes the keystore on this node; others see its record.
func (o keystoreZeroise) Settle(ctx context.Context, env Env, in Input, _ Effect) error {
	p, err := decode[keystoreZeroiseParams](in)
	if err != nil {
		return err
	}
	driver, err := env.Custodian.Keystore(p.Keystore)
	if err != nil {
		return nil // none here
	}
	return driver.Deactivate(ctx)
}
