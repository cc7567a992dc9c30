package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// policyRecoverParams name the bundle to restore.
type policyRecoverParams struct {
	Bundle string `json:"bundle"`
}

// policyRecover restores a bundle that was in force before. It is opened by shares; who may ask, who may bring one and
// how many is compiled in (policies.Recover), and nothing here asks the bundle in force, which may deny everything,
// err, never end, or have been edited in the database.
type policyRecover struct{}

func (policyRecover) Name() string { return policies.Recover }

func (policyRecover) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, err := decode[policyRecoverParams](in)
	if err != nil {
		return Plan{}, err
	}
	if !slices.Contains(wereInForce(view), p.Bundle) {
		return Plan{}, &custodian.InputError{Field: "bundle", Problem: fmt.Sprintf("%q was never in force", clean(p.Bundle)), Allowed: "the digest of a bundle that was in force: conclave policy list"}
	}
	plan, err := policyPlan(view, fmt.Sprintf("Restore policy bundle %.16s, which was in force before", p.Bundle), p.Bundle)
	if err != nil {
		return Plan{}, err
	}
	if plan.Lines[0].Before == p.Bundle && env.Policies.Problem() == nil {
		plan.Deny = append(plan.Deny, refusal("no_change", "this bundle is in force", "nothing to do"))
	}
	if _, _, err := recoverable(env, view, p.Bundle); err != nil {
		plan.Deny = append(plan.Deny, refusal("bundle_unusable", fmt.Sprintf("the bundle cannot be restored: %v", err),
			"an operator puts its rows back, or choose another bundle that was in force"))
		return plan, nil
	}
	set, err := recoverySet(view)
	if err != nil {
		return Plan{}, err
	}
	if set == nil {
		plan.Deny = append(plan.Deny, refusal("no_share_set", "no registered keystore has a share set", "none: the instance has no shares"))
		return plan, nil
	}
	plan.ShareSet = set.ID
	plan.Quorum.Target.Threshold, plan.Quorum.Target.Total = set.Threshold, set.Total
	plan.Lines = append(plan.Lines, Line{Label: "share set", After: fmt.Sprintf("%s, epoch %d: %d of %d shares", set.ID, set.Epoch, set.Threshold, set.Total)})
	return plan, nil
}

func (policyRecover) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, err := decode[policyRecoverParams](in)
	if err != nil {
		return Result{}, err
	}
	record, files, err := recoverable(env, tx.View(), p.Bundle)
	if err != nil {
		return Result{}, err
	}
	// Its rows are written anew: whatever was edited in them is gone, and what they hold is bound by this entry.
	if err := custodian.PutPolicyBundle(tx, *record, files); err != nil {
		return Result{}, err
	}
	return putInForce(env, tx, in, record, map[string]any{"operation": policies.Recover})
}

// wereInForce are the digests of all bundles that were ever in force, as far as the rows are to be believed.
func wereInForce(view *store.View) []string {
	var out []string
	for _, e := range custodian.PolicyHistory(view) {
		out = append(out, e.Digest)
	}
	if inForce, err := custodian.InForce(view); err == nil {
		out = append(out, inForce.Digest)
	}
	if instance, err := store.Peek[custodian.Instance](view, custodian.KindInstance, custodian.InstanceRow); err == nil {
		out = append(out, instance.PolicyDigest)
	}
	return out
}

// recoverable is a bundle that compiles: as it is kept, or where its rows were edited or never made, as this program
// carries it.
func recoverable(env Env, view *store.View, digest string) (*custodian.PolicyBundle, policies.Files, error) {
	record, files, err := custodian.StoredPolicy(view, digest)
	if err == nil {
		_, err = env.Custodian.StoredPolicies(view, digest)
		return record, files, err
	}
	carried := env.Custodian.CarriedPolicies()
	var tampered *store.TamperedError
	if carried.Digest() != digest || !errors.As(err, &tampered) && !errors.Is(err, store.ErrNotFound) {
		return nil, nil, err
	}
	if record == nil {
		first := custodian.GenesisBundle(carried, view.Time())
		first.Name, first.Terms = "restored from the program", nil
		record = &first
	}
	return record, carried.Files(), nil
}

// recoverySet is the share set that restores a policy: of the sets that open registered keystores and that can still
// be brought together, the one with the highest threshold, so that the weakest set of several does not decide for all,
// and one whose shares are lost or whose holders have left does not lock everybody out. A suspension, which one person
// makes, takes no holder off: it would choose the weaker set. Where none can, the one with the highest threshold.
func recoverySet(view *store.View) (*people.ShareSet, error) {
	var sets []*people.ShareSet
	for _, ks := range store.All[key.Keystore](view, custodian.KindKeystore) {
		if ks.Status != key.KeystoreRegistered || ks.ShareSet == "" {
			continue
		}
		set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, ks.ShareSet)
		if err != nil {
			return nil, fmt.Errorf("reading share set %q: %w", ks.ShareSet, err)
		}
		sets = append(sets, set)
	}
	if len(sets) == 0 {
		return nil, nil
	}
	able := func(s *people.ShareSet) int {
		if remainingHolders(view, s) >= s.Threshold {
			return 1
		}
		return 0
	}
	return slices.MaxFunc(sets, func(a, b *people.ShareSet) int {
		return cmp.Or(cmp.Compare(able(a), able(b)), cmp.Compare(a.Threshold, b.Threshold), cmp.Compare(a.Total, b.Total), cmp.Compare(b.ID, a.ID))
	}), nil
}
