package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
)

// After a crash each effect is found, or is known not to have happened, and what can not be recorded is undone.
func TestRecoverRotation(t *testing.T) {
	r := newRig(t)
	rotate := op(t, "key.rotate").(operation.Effectful)
	in := r.input(t, human("demo-cleo"), map[string]any{"key": custodiantest.KeyID})
	lost, err := rotate.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	_, found, err := rotate.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.False(t, found)
	require.NoError(t, rotate.Undo(t.Context(), r.env, in, lost))
	require.NoError(t, rotate.Undo(t.Context(), r.env, in, operation.Effect{ID: "e-1"}), "nothing was made")
	_, err = r.record(t, "key.rotate", in, operation.Effect{ID: "e-1"})
	require.ErrorContains(t, err, "made no key")

	again, err := rotate.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	_, err = r.record(t, "key.rotate", in, again)
	require.NoError(t, err)
	require.Equal(t, again.Material.CheckValue, r.version(t, custodiantest.KeyID, 2).CheckValue)
}

func TestRecoverDeactivation(t *testing.T) {
	r := newRig(t)
	deactivate := op(t, "keystore.deactivate").(operation.Effectful)
	in := r.input(t, human("demo-cleo"), map[string]any{"keystore": custodiantest.KeystoreID})
	_, found, err := deactivate.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.False(t, found, "it is still open")
	effect, err := deactivate.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	_, found, err = deactivate.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.True(t, found)
	require.NoError(t, deactivate.Undo(t.Context(), r.env, in, effect))
	require.False(t, r.Soft.Active(), "closing is never undone without a quorum")
}

// Two ceremonies that destroy the same version end both, with one destruction on record in its history.
func TestDestroyedTwice(t *testing.T) {
	r := newRig(t)
	id := custodiantest.KeyID
	r.run(t, "key.rotate", human("demo-cleo"), map[string]any{"key": id})
	destroy := op(t, "key.destroy").(operation.Effectful)
	var ins []operation.Input
	for range 2 {
		in := r.input(t, human("demo-ada"), map[string]any{"key": id, "version": 1, "waiver": "rewrapped"})
		in.ApprovedAt, in.Now = r.Clock.Now(), r.Clock.Now().Add(8*days)
		ins = append(ins, in)
	}
	r.Clock.Advance(8 * days)
	var effects []operation.Effect
	for i, in := range ins {
		effect, err := destroy.Effect(t.Context(), r.env, in, []string{"e-1", "e-2"}[i], nil)
		require.NoError(t, err)
		effects = append(effects, effect)
	}
	for i, in := range ins {
		_, err := r.record(t, "key.destroy", in, effects[i])
		require.NoError(t, err)
	}
	_, found, err := destroy.Recover(t.Context(), r.env, ins[1], "e-2")
	require.NoError(t, err)
	require.True(t, found)
	require.NoError(t, r.version(t, id, 1).CheckHistory())
	require.Equal(t, []string{"T1", "T4", "T8", "T13"}, historyIDs(r.version(t, id, 1)))
}

// A version that was never active is destroyed without a wait of its own (T2), and what it replaces stays.
func TestDestroyBeforeUse(t *testing.T) {
	r := newRig(t)
	params := newKey("never")
	params["activation_at"] = r.Clock.Now().Add(100 * days).Format("2006-01-02T15:04:05Z")
	r.run(t, "key.create", human("demo-ada"), params)
	in := r.input(t, human("demo-ada"), map[string]any{"key": "never", "version": 1, "reason": "not needed"})
	r.plan(t, "key.destroy", in)
	in.ApprovedAt = r.Clock.Now()
	_, err := r.execute(t, "key.destroy", in, nil)
	require.NoError(t, err)
	require.Equal(t, key.Destroyed, r.version(t, "never", 1).State)
	require.Empty(t, r.due(t, operation.Jobs{Env: r.env}))
	k := row[key.Key](t, r, custodian.KindKey, "never")
	require.EqualValues(t, 2, k.GovRevision)
}
