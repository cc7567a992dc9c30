package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// keystoreRetire takes a keystore out of service for good: it takes no key, and is not activated again.
type keystoreRetire struct{}

func (keystoreRetire) Name() string { return "keystore.retire" }

type keystoreRetireParams struct {
	Keystore string `json:"keystore"`
	Reason   string `json:"reason"`
}

func (keystoreRetire) read(view *store.View, in Input) (*key.Keystore, string, error) {
	p, err := decode[keystoreRetireParams](in)
	if err != nil {
		return nil, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, "", err
	}
	record, err := keystoreRow(view, "keystore", p.Keystore)
	return record, reason, err
}

func (o keystoreRetire) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	record, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := keystorePlan(record, fmt.Sprintf("Retire keystore %s for good: it takes no key and is not activated again", record.ID))
	plan.Lines = append(plan.Lines, Line{Label: "status", Before: record.Status, After: key.KeystoreRetired}, Line{Label: "reason", After: reason})
	if record.Status == key.KeystoreRetired {
		plan.Deny = append(plan.Deny, refusal("no_change", "keystore "+record.ID+" is retired", "nothing to do"))
		return plan, nil
	}
	full, err := notEmpty(view, record)
	if err != nil {
		return Plan{}, err
	}
	plan.Deny = append(append(plan.Deny, full...), memberStays(record)...)
	if record.Group != nil {
		plan.Lines = append(plan.Lines, Line{Label: "members", Before: join(record.Group.IDs()), After: "keystores by themselves again"})
	}
	lost, err := withoutKeystore(ctx, env, view, record, in)
	plan.Deny = append(plan.Deny, lost...)
	return plan, err
}

// memberStays refuses to retire a keystore out of a group.
func memberStays(record *key.Keystore) []policies.Reason {
	if record.MemberOf == "" {
		return nil
	}
	return []policies.Reason{refusal("keystore_in_group", "keystore "+record.ID+" is a member of group "+record.MemberOf, "remove it there first (group.remove)")}
}

// notEmpty refuses while key versions with material are in a keystore, and says which.
func notEmpty(view *store.View, record *key.Keystore) ([]policies.Reason, error) {
	versions, err := inKeystore(view, record.ID)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, v := range versions {
		left = append(left, fmt.Sprintf("%s (%s)", key.VersionID(v.Key, v.Version), v.State))
	}
	if len(left) == 0 {
		return nil, nil
	}
	named := left[:min(len(left), keysNamed)]
	return []policies.Reason{refusal("keystore_not_empty", fmt.Sprintf("%s %s in keystore %s: %s%s", amount.Of(len(left), "key version"), amount.Verb(len(left), "is", "are"), record.ID, list(named), more(len(left))),
		"rotate or move the keys elsewhere, and destroy the versions that are left (key.destroy)")}, nil
}

// more says that a list was cut.
func more(all int) string {
	if all <= keysNamed {
		return ""
	}
	return fmt.Sprintf(" and %d more", all-keysNamed)
}

// withoutKeystore refuses to take away the last share set by which policy can be recovered (DESIGN invariant 12).
func withoutKeystore(ctx context.Context, env Env, view *store.View, record *key.Keystore, in Input) ([]policies.Reason, error) {
	if record.ShareSet == "" {
		return nil, nil
	}
	var others []string
	for _, ks := range store.All[key.Keystore](view, custodian.KindKeystore) {
		if ks.ID != record.ID && ks.Status == key.KeystoreRegistered && ks.ShareSet != "" {
			others = append(others, ks.ShareSet)
		}
	}
	lack := "no other keystore with a share set is registered"
	if len(others) > 0 {
		would := registerAfter(view, after{})
		table := quorumTable(env, in)
		var err error
		if lack, err = anySet(ctx, would, table, holdings(view, after{}), matter{policyRecover{}.Name(), PolicyTarget, others, ""}); err != nil {
			return nil, fmt.Errorf("simulating policy.recover without keystore %s: %w", record.ID, err)
		}
	}
	if lack == "" {
		return nil, nil
	}
	return []policies.Reason{lockedOut("afterwards policy could no longer be recovered by shares: "+lack, "register another keystore with a share set whose holders are there first")}, nil
}

func (o keystoreRetire) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	record, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	full, err := notEmpty(tx.View(), record)
	if err != nil {
		return Result{}, err
	}
	if full = append(full, memberStays(record)...); len(full) > 0 {
		return Result{}, errors.New(full[0].Message)
	}
	a := act(env, tx, in, reason)
	if record.Group != nil {
		for _, id := range record.Group.IDs() {
			own, err := keystoreRow(tx.View(), "keystore", id)
			if err != nil {
				return Result{}, err
			}
			if err := putMembership(tx, own, ""); err != nil {
				return Result{}, err
			}
		}
		record.Group = &key.Group{Former: append(slices.Clone(record.Group.Former), record.Group.IDs()...)}
	}
	record.Status, record.RetiredAt = key.KeystoreRetired, a.at
	record.GovRevision++
	e := a.event("keystore.retire", ledger.Target{Type: "keystore", ID: record.ID}, map[string]any{"driver": record.Driver, "share_set": record.ShareSet})
	return result(map[string]any{"keystore": record.ID, "status": record.Status}), a.put(tx, custodian.KindKeystore, record.ID, record, e)
}
