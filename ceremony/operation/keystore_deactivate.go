package operation

import (
	"context"
	"fmt"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm/secret"
)

// keystoreDeactivate takes the activation secret away from a keystore, on this node, at once.
type keystoreDeactivate struct{}

func (keystoreDeactivate) Name() string { return "keystore.deactivate" }

func (keystoreDeactivate) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	record, err := keystoreOf(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := keystorePlan(record, fmt.Sprintf("Deactivate keystore %s: its keys stop working until a quorum brings its shares again", record.ID))
	plan.Lines = append(plan.Lines, Line{Label: "state on node " + env.Custodian.Node(), Before: "active", After: "inactive"})
	if len(inactive(env, record)) > 0 {
		plan.Deny = append(plan.Deny, refusal("already_inactive", "keystore "+record.ID+" is inactive on this node", "nothing to do"))
	}
	return plan, nil
}

func (keystoreDeactivate) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	driver, id, err := named(env, in)
	if err != nil {
		return Effect{}, err
	}
	if err := driver.Deactivate(ctx); err != nil {
		return Effect{}, fmt.Errorf("deactivating keystore %s: %w", id, err)
	}
	return Effect{ID: effectID}, nil
}

// Recover: an inactive keystore is what was wanted; an active one is deactivated again.
func (keystoreDeactivate) Recover(_ context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	driver, _, err := named(env, in)
	if err != nil {
		return Effect{}, false, err
	}
	return Effect{ID: effectID}, !driver.Active(), nil
}

func (keystoreDeactivate) Complete(_ context.Context, env Env, tx *store.Tx, in Input, _ Effect) (Result, error) {
	record, err := keystoreOf(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	e := act(env, tx, in, in.Reason).event("keystore.deactivate", ledger.Target{Type: "keystore", ID: record.ID},
		map[string]any{"node": env.Custodian.Node()})
	if err := tx.Append(e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"keystore": record.ID, "active": false, "node": env.Custodian.Node()}), nil
}

// Undo leaves the keystore closed: only its custodians can open it again.
func (keystoreDeactivate) Undo(context.Context, Env, Input, Effect) error { return nil }
