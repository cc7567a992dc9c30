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
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// keystoreParams name a keystore.
type keystoreParams struct {
	Keystore string `json:"keystore"`
}

// keystoreActivate gives a keystore its activation secret, put together from the shares of its custodians.
type keystoreActivate struct{}

func (keystoreActivate) Name() string { return "keystore.activate" }

func (keystoreActivate) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	record, err := keystoreOf(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := keystorePlan(record, fmt.Sprintf("Activate keystore %s", record.ID))
	if record.ShareSet == "" {
		plan.Deny = append(plan.Deny, refusal("no_share_set", "keystore "+record.ID+" has no share set that opens it", "it is activated as its driver says"))
		return plan, nil
	}
	set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, record.ShareSet)
	if err != nil {
		return Plan{}, fmt.Errorf("reading share set %q: %w", record.ShareSet, err)
	}
	plan.ShareSet = set.ID
	plan.Quorum.Target.Threshold, plan.Quorum.Target.Total = set.Threshold, set.Total
	plan.Lines = append(plan.Lines,
		Line{Label: "state on node " + env.Custodian.Node(), Before: "inactive", After: "active"},
		Line{Label: "share set", After: fmt.Sprintf("%s, epoch %d: %d of %d shares", set.ID, set.Epoch, set.Threshold, set.Total)})
	if driver, err := env.Custodian.Keystore(record.ID); err == nil && driver.Active() {
		plan.Deny = append(plan.Deny, refusal("already_active", "keystore "+record.ID+" is active on this node", "nothing to do"))
	}
	plan.Deny = append(plan.Deny, uninitialised(record)...)
	if record.Status != key.KeystoreRegistered {
		plan.Deny = append(plan.Deny, refusal("keystore_retired", "keystore "+record.ID+" is "+record.Status, "use a registered keystore"))
	}
	return plan, nil
}

// Effect activates the driver of this process with the combined secret. A secret that does not open the
// keystore changes nothing and fails the ceremony.
func (keystoreActivate) Effect(ctx context.Context, env Env, in Input, effectID string, shares *secret.Bytes) (Effect, error) {
	if shares == nil {
		return Effect{}, errors.New("activating a keystore needs its shares")
	}
	driver, id, err := named(env, in)
	if err != nil {
		return Effect{}, err
	}
	if err := driver.Activate(ctx, shares); err != nil {
		return Effect{}, fmt.Errorf("activating keystore %s: %w", id, err)
	}
	return Effect{ID: effectID}, nil
}

// Recover: what was activated ends with the process, so an active keystore is the whole evidence.
func (keystoreActivate) Recover(_ context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	driver, _, err := named(env, in)
	if err != nil {
		return Effect{}, false, err
	}
	return Effect{ID: effectID}, driver.Active(), nil
}

func (keystoreActivate) Complete(_ context.Context, env Env, tx *store.Tx, in Input, _ Effect) (Result, error) {
	record, err := keystoreOf(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	driver, err := Driver(env, record)
	if err != nil {
		return Result{}, err
	}
	facts := driver.Facts()
	detail := map[string]any{"node": env.Custodian.Node(), "module": facts.Module, "rng": facts.RNG,
		"fips_claim": key.FIPSClaim(facts), "share_set": record.ShareSet}
	e := act(env, tx, in, in.Reason).event("keystore.activate", ledger.Target{Type: "keystore", ID: record.ID}, detail)
	if err := tx.Append(e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"keystore": record.ID, "active": true, "node": env.Custodian.Node()}), nil
}

// Undo closes a keystore whose activation could not be recorded.
func (keystoreActivate) Undo(ctx context.Context, env Env, in Input, _ Effect) error {
	driver, _, err := named(env, in)
	if err != nil {
		return err
	}
	return driver.Deactivate(ctx)
}

// named is the keystore that the parameters name, with its driver as Current has it.
func named(env Env, in Input) (driver hsm.Keystore, keystore string, err error) {
	p, err := decode[keystoreParams](in)
	if err != nil {
		return nil, "", err
	}
	driver, err = Current(env, p.Keystore)
	return driver, p.Keystore, err
}

func keystoreOf(view *store.View, in Input) (*key.Keystore, error) {
	p, err := decode[keystoreParams](in)
	if err != nil {
		return nil, err
	}
	return keystoreRow(view, "keystore", p.Keystore)
}

func keystorePlan(record *key.Keystore, title string) Plan {
	return Plan{
		Target: Target{Type: "keystore", ID: record.ID, GovRevision: record.GovRevision}, Title: title,
		Lines: []Line{
			{Label: "keystore", After: fmt.Sprintf("%s: %s, %s, %s", record.ID, record.Driver, record.Location, record.Jurisdiction)}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "keystore", ID: record.ID, Owner: record.Controller}},
	}
}
