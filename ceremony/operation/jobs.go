package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/store"
)

// Jobs is what time brings by itself (class A). Each act cites the governed decision that set its date. The
// engine runs them, rotations first: a version whose usage period is over can no longer be rotated from.
type Jobs struct{ Env Env }

// maxDue bounds what one transaction changes.
const maxDue = 100

// Due is a change of a version's state that its date brings.
type Due struct {
	Key        string
	Version    uint32
	Transition string // "T4" or "T8"
	Cites      string // ceremony that set the date
	facts      key.Facts
}

// DueTransitions finds activations (T4) and expiries (T8) that are due, at most 100 at a time. A version whose
// keystore does not fit, or whose custodians have not acknowledged their duty, stays in pre-activation.
// Expiry depends on nothing but the date.
func (j Jobs) DueTransitions(ctx context.Context, view *store.View, now time.Time) ([]Due, error) {
	var out []Due
	var errs []error
	for _, v := range store.All[key.Version](view, custodian.KindKeyVersion) {
		id, due := v.Due(now)
		if !due || len(out) >= maxDue {
			continue
		}
		d := Due{Key: v.Key, Version: v.Version, Transition: id, Cites: precedent(v)}
		if id == "T4" {
			ready, facts, err := j.activatable(ctx, view, v, now)
			if err != nil {
				errs = append(errs, fmt.Errorf("activating %s: %w", key.VersionID(v.Key, v.Version), err))
			}
			if !ready {
				continue
			}
			d.facts = facts
		}
		out = append(out, d)
	}
	return out, errors.Join(errs...)
}

// activatable judges the guards of T4. A suspended key gets no new version by date alone: that would release
// it without the quorum.
func (j Jobs) activatable(ctx context.Context, view *store.View, v *key.Version, now time.Time) (bool, key.Facts, error) {
	k, err := keyRow(view, "key", v.Key)
	if err != nil {
		return false, key.Facts{}, err
	}
	current, err := versionRow(view, k, k.Current)
	if err != nil || current.State == key.Suspended {
		return false, key.Facts{}, err
	}
	facts, err := activationFacts(ctx, j.Env, view, k, Input{Now: now})
	return err == nil && facts.PlacementFits && facts.CustodiansAcknowledged, facts, err
}

// ApplyDue makes the changes found by DueTransitions on the same view. What is no longer due is left alone;
// when that is all of it, nothing is recorded and the transaction ends with store.ErrNoEntry.
func (j Jobs) ApplyDue(tx *store.Tx, due []Due) error {
	for _, d := range due {
		err := j.applyOne(tx, d)
		var refused *key.TransitionError
		if errors.As(err, &refused) {
			continue // judged a moment too early, or changed meanwhile: the next run judges again
		}
		if err != nil {
			return fmt.Errorf("%s of %s: %w", d.Transition, key.VersionID(d.Key, d.Version), err)
		}
	}
	return nil
}

func (j Jobs) applyOne(tx *store.Tx, d Due) error {
	a := acting{principal: identity.Principal{Kind: identity.Node, ID: j.Env.Custodian.Node()}, ceremony: d.Cites,
		policy: j.Env.Policies.Digest(), at: tx.Now()}
	if d.Transition == "T4" {
		a.reason = "activation date reached"
		k, err := keyRow(tx.View(), "key", d.Key)
		if err != nil {
			return err
		}
		v, err := versionRow(tx.View(), k, d.Version)
		if err != nil {
			return err
		}
		_, err = bringIntoUse(a, tx, k, v, d.facts)
		return err
	}
	// Expiry needs the version alone, so that nothing wrong with its key holds it up.
	a.reason = "originator usage period is over"
	id := key.VersionID(d.Key, d.Version)
	v, _, err := store.Get[key.Version](tx.View(), custodian.KindKeyVersion, id)
	if err != nil {
		return err
	}
	next, err := v.Apply(a.transition(d.Transition), key.Facts{})
	if err != nil {
		return err
	}
	e := a.event("key.deactivate", keyEventTarget(next), map[string]any{"cause": "expired", "oup_end": v.OUPEnd.Format(time.RFC3339)})
	return a.put(tx, custodian.KindKeyVersion, id, next, e)
}

// Scheduled is a proposal that this node makes in its own name.
type Scheduled struct {
	Operation string
	Params    []byte // canonical JSON
	Reason    string
}

// DueRotations finds keys whose schedule asks for a new version and whose keystore can make one now.
func (j Jobs) DueRotations(ctx context.Context, view *store.View, now time.Time) ([]Scheduled, error) {
	var out []Scheduled
	var errs []error
	for _, k := range store.All[key.Key](view, custodian.KindKey) {
		due, err := j.rotatable(ctx, view, k, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("rotating key %s: %w", k.ID, err))
		}
		if due {
			out = append(out, Scheduled{Operation: keyRotate{}.Name(), Params: custodian.Detail(map[string]any{"key": k.ID}),
				Reason: "scheduled: every " + amount.Of(k.RotateDays, "day")})
		}
	}
	return out, errors.Join(errs...)
}

func (j Jobs) rotatable(ctx context.Context, view *store.View, k *key.Key, now time.Time) (bool, error) {
	current, err := versionRow(view, k, k.Current)
	if err != nil || !current.RotationDue(k, now) {
		return false, err
	}
	newest, err := versionRow(view, k, k.Versions)
	if err != nil || len(notRotatable(k, current, newest)) > 0 {
		return false, err
	}
	record, err := keystoreRow(view, "keystore", k.Keystore)
	if err != nil || len(inactive(j.Env, record)) > 0 {
		return false, err
	}
	k.Origin = key.OriginGenerated // of the version to be made
	misfits, err := misplaced(ctx, j.Env, view, k)
	return err == nil && len(misfits) == 0, err
}

// AlertKind is what an alert is about.
type AlertKind string

const (
	AlertExpiry      AlertKind = "expiry"      // 90, 30, 7 days before the end of the originator usage period
	AlertReview      AlertKind = "review"      // a suspension is past its review date
	AlertDestruction AlertKind = "destruction" // the time to destroy has come; a person proposes it
	AlertExposure    AlertKind = "exposure"    // lost shares of its keystore make a quorum: to be treated as compromised
)

// Alert is something that a person should look at. It changes nothing.
type Alert struct {
	Kind     AlertKind `json:"kind"`
	Key      string    `json:"key,omitempty"`
	Version  uint32    `json:"version,omitempty"`
	Keystore string    `json:"keystore,omitempty"`
	Person   string    `json:"person,omitempty"`
	Duty     string    `json:"duty,omitempty"`
	Set      string    `json:"share_set,omitempty"`
	Days     int       `json:"days,omitempty"` // the warning step reached
	Message  string    `json:"message"`
}

// ExposedBy is the keystore whose secret counts as known to others while a version is, or a copy of it is, wrapped under it;
// nil for none.
func ExposedBy(view *store.View, v *key.Version) *key.Keystore {
	homes := []string{v.Keystore}
	for _, c := range v.Material.Copies {
		homes = append(homes, c.Member)
	}
	for _, id := range homes {
		if ks, err := store.Peek[key.Keystore](view, custodian.KindKeystore, id); err == nil && ks.CountsAsCompromised(v) {
			return ks
		}
	}
	return nil
}

// Alerts lists what should be looked at now: keys in order of version id, then registers, placement, people, duties and drills.
func Alerts(view *store.View, now time.Time) []Alert {
	var out []Alert
	for _, v := range store.All[key.Version](view, custodian.KindKeyVersion) {
		id := key.VersionID(v.Key, v.Version)
		if days := v.Warning(now); days > 0 {
			out = append(out, Alert{Kind: AlertExpiry, Key: v.Key, Version: v.Version, Days: days,
				Message: fmt.Sprintf("%s protects until %s: within %s", id, v.OUPEnd.Format(time.DateOnly), amount.Of(days, "day"))})
		}
		if v.ReviewOverdue(now) {
			out = append(out, Alert{Kind: AlertReview, Key: v.Key, Version: v.Version, Message: fmt.Sprintf("the suspension of %s is past its review date", id)})
		}
		if ks := ExposedBy(view, v); ks != nil && v.State != key.Compromised {
			out = append(out, Alert{Kind: AlertExposure, Key: v.Key, Version: v.Version, Message: fmt.Sprintf("%s counts as compromised, since %d shares of %s are lost: propose key.compromise, replace it",
				id, ks.SecretExposed.Shares, ks.SecretExposed.Set)})
		}
		if t, due := v.Proposal(now); due {
			out = append(out, Alert{Kind: AlertDestruction, Key: v.Key, Version: v.Version, Message: fmt.Sprintf("%s can be destroyed (%s): propose key.destroy", id, t)})
		}
	}
	return slices.Concat(out, registerAlerts(view, now), placementAlerts(view), monitorAlerts(view, now), peopleAlerts(view, now), drillAlerts(view, now))
}
