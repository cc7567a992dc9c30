package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"conclave/ceremony/placement"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// Driver returns the driver of a registered keystore, making it from the governed record where this process
// does not have it yet: the keystore was registered after it started, or by another replica.
func Driver(env Env, record *key.Keystore) (hsm.Keystore, error) {
	driver, err := env.Custodian.Keystore(record.ID)
	if errors.Is(err, store.ErrNotFound) {
		if record.Group != nil {
			driver, err = env.Custodian.Group(record.ID)
		} else {
			driver, err = env.Drivers(record)
		}
		if err != nil {
			return nil, fmt.Errorf("making the driver of keystore %s: %w", record.ID, err)
		}
		if env.Custodian.AddKeystore(record.ID, driver) != nil { // somebody else was faster
			driver, err = env.Custodian.Keystore(record.ID)
		}
	}
	return driver, err
}

// Current returns the driver of a keystore as the newest committed record has it: where the activation secret was
// replaced, by this process or another, the driver follows. Never for a record of a transaction under way, which may
// still come to nothing, while what a driver has left behind is forgotten.
func Current(env Env, id string) (hsm.Keystore, error) {
	record, err := keystoreRow(env.Custodian.View(), "keystore", id)
	if err != nil {
		return nil, err
	}
	driver, err := Driver(env, record)
	if err != nil {
		return nil, err
	}
	if r, ok := driver.(hsm.Rekeyer); ok {
		r.Follow(record.Verifier)
	}
	return driver, nil
}

// underRecord refuses to record material that is wrapped under another secret than the keystore's record names: the
// shares were re-issued between making and recording, and it would open nothing.
func underRecord(env Env, view *store.View, driver hsm.Keystore, record *key.Keystore, m *hsm.Material) error {
	if m != nil && record.Group != nil {
		return underRecords(env, view, m)
	}
	if r, ok := driver.(hsm.Rekeyer); ok && m != nil && !r.Wraps(*m, record.Verifier) {
		return fmt.Errorf("the activation secret of keystore %s was replaced meanwhile: %w", record.ID, ErrOvertaken)
	}
	return nil
}

// underRecords is underRecord of a key of a group: of every copy.
func underRecords(env Env, view *store.View, m *hsm.Material) error {
	for _, c := range m.Copies {
		if err := wrapsCopy(env, view, c); err != nil {
			return err
		}
	}
	return nil
}

// unacknowledgedOf is unacknowledged of the custodians of every member of a group.
func unacknowledgedOf(view *store.View, record *key.Keystore, in Input) ([]string, error) {
	var out []string
	for _, id := range record.Group.IDs() {
		own, err := keystoreRow(view, "keystore", id)
		if err != nil {
			return nil, err
		}
		missing, err := unacknowledged(view, own, in)
		if err != nil {
			return nil, err
		}
		out = append(out, missing...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// inactive refuses what needs a keystore that does not serve on this node now.
func inactive(env Env, record *key.Keystore) []policies.Reason {
	driver, err := env.Custodian.Keystore(record.ID)
	if err == nil && driver.Active() {
		return nil
	}
	return []policies.Reason{{Rule: "operation", Code: custodian.CodeKeystoreInactive,
		Message: fmt.Sprintf("keystore %s is inactive", record.ID), Remedy: "its custodians activate it (keystore.activate)"}}
}

// unacknowledged lists those who hold usable shares of a keystore's set, are active, and have not signed for
// their duty, as T4 demands. A keystore without shares has no such people.
func unacknowledged(view *store.View, record *key.Keystore, in Input) ([]string, error) {
	if record.Group != nil {
		return unacknowledgedOf(view, record, in)
	}
	if record.ShareSet == "" {
		return nil, nil
	}
	set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, record.ShareSet)
	if err != nil {
		return nil, fmt.Errorf("reading share set %q: %w", record.ShareSet, err)
	}
	var out []string
	find := register(view)
	for _, s := range shareRows(view, set.ID) {
		p := find(s.Custodian)
		if s.Usable(set) && people.Present(p) == nil && people.Acknowledged(p, in.Now) != nil {
			out = append(out, p.ID)
		}
	}
	return out, nil
}

// placementKey is what a key asks of the keystore it lives in, the data under it included.
func placementKey(view *store.View, k *key.Key) (policies.PlacementKey, error) {
	demands, err := placement.DemandsOf(view)
	if err != nil {
		return policies.PlacementKey{}, fmt.Errorf("reading what data demands of the custody of key %s: %w", k.ID, err)
	}
	asks := demands.KeyOf(k)
	asks.Origin = k.Origin
	return asks, nil
}

// placed judges a key against every keystore.
func placed(ctx context.Context, env Env, view *store.View, k *key.Key) (policies.PlacementDecision, error) {
	asks, err := placementKey(view, k)
	if err != nil {
		return policies.PlacementDecision{}, err
	}
	decision, err := env.Custodian.Place(ctx, view, asks)
	if err != nil {
		return policies.PlacementDecision{}, fmt.Errorf("judging where key %s may live: %w", k.ID, err)
	}
	return decision, nil
}

// acceptedRisks shows the exceptions in force that a key's place in its keystore may rest on.
func acceptedRisks(ctx context.Context, env Env, view *store.View, k *key.Key) ([]Line, error) {
	decision, err := placed(ctx, env, view, k)
	if err != nil {
		return nil, err
	}
	verdict, _ := decision.Verdict(k.Keystore)
	var out []Line
	for _, id := range verdict.Exceptions {
		x, _, err := lookup[oversight.Exception](view, custodian.KindException, "exception", id, "exception")
		if err != nil {
			return nil, err
		}
		out = append(out, Line{Label: "accepted risk", After: fmt.Sprintf("%s: %s, until %s; instead: %s", x.ID, x.Rule, x.ExpiresAt.Format(dateTime), x.Compensating)})
	}
	return out, nil
}

// misplaced judges whether a key may live in its keystore: every reason against it, and where it could live.
func misplaced(ctx context.Context, env Env, view *store.View, k *key.Key) ([]policies.Reason, error) {
	decision, err := placed(ctx, env, view, k)
	if err != nil {
		return nil, err
	}
	verdict, known := decision.Verdict(k.Keystore)
	reasons := zeroising(env, k.Keystore)
	if known && verdict.Allow && len(reasons) == 0 {
		return nil, nil
	}
	reasons = append(reasons, verdict.Reasons...)
	var could []string
	for _, v := range decision.Keystores {
		if v.Allow && len(zeroising(env, v.Keystore)) == 0 {
			could = append(could, v.Keystore)
		}
	}
	if len(could) == 0 {
		return append(reasons, refusal("placement_nowhere", "no registered keystore could hold this key",
			"register a keystore that fits (keystore.register)")), nil
	}
	return append(reasons, refusal("placement_elsewhere", "keystores that could hold this key: "+list(could), "propose it for one of them")), nil
}
