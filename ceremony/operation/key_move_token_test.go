//go:build cgo

package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/hsm"
)

// newTokenRig is a rig whose vault is a token of SoftHSM that its custodians took over.
func newTokenRig(t *testing.T) *sharesRig {
	t.Helper()
	r := &sharesRig{engineRig: newEngineRigWith(t, tokenDriver(t))}
	r.enrolPerson(t, theWitness, "witness")
	params := newKeystore(vault)
	params["driver"] = "pkcs11"
	params["token"] = map[string]any{"module": "softhsm", "label": "conclave", "serial": ""}
	r.run(t, "keystore.register", human("demo-ada"), params)
	r.takeOver(t)
	return r
}

// A software key moves into a token: used before, cut off at each step, found again by its id, used after.
func TestInvariant10_MoveIntoATokenSurvivesACutAtEachStep(t *testing.T) {
	r := newTokenRig(t)
	id := custodiantest.KeyID
	old, err := r.use(t, id)
	require.NoError(t, err)
	in := r.input(t, human("demo-cleo"), map[string]any{"key": id, "keystore": vault, "reason": "into the HSM"})
	r.plan(t, "key.move", in)
	move := op(t, "key.move").(operation.Effectful)

	// Between intent and effect.
	_, found, err := move.Recover(t.Context(), r.env, in, "e-move")
	require.NoError(t, err)
	require.False(t, found)
	require.Equal(t, []uint32{1}, r.actives(t, id))
	// Between effect and outcome: the token has it, the record does not.
	made, err := move.Effect(t.Context(), r.env, in, "e-move", nil)
	require.NoError(t, err)
	require.Equal(t, []uint32{1}, r.actives(t, id))
	again, found, err := move.Recover(t.Context(), r.env, in, "e-move")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, made.Material.CheckValue, again.Material.CheckValue)
	// Begun again although it happened: the same key.
	twice, err := move.Effect(t.Context(), r.env, in, "e-move", nil)
	require.NoError(t, err)
	require.Equal(t, made.Material.CheckValue, twice.Material.CheckValue)
	// While the token is closed nothing can be told.
	require.NoError(t, r.keystore.Deactivate(t.Context()))
	_, _, err = move.Recover(t.Context(), r.env, in, "e-move")
	require.ErrorIs(t, err, hsm.ErrInactive)
	require.NoError(t, r.keystore.Activate(t.Context(), r.combineOf(t, 1, 1, 2, 3)))

	_, err = r.record(t, "key.move", in, again)
	require.NoError(t, err)
	require.Equal(t, []uint32{2}, r.actives(t, id))
	v := r.version(t, id, 2)
	require.Equal(t, []any{vault, hsm.AlgorithmWrappedAES256GCM}, []any{v.Keystore, v.Algorithm})
	require.NoError(t, r.decrypt(t, old), "by the software keystore")
	fresh, err := r.use(t, id)
	require.NoError(t, err)
	require.NoError(t, r.decrypt(t, fresh), "by the token")
	// After the outcome nothing is done twice.
	_, err = r.record(t, "key.move", in, again)
	require.Error(t, err)
	require.Equal(t, []uint32{2}, r.actives(t, id))
}

// A rotation that was cut off in the token is found there and taken back, although the key has moved away since.
func TestRotationIsTakenBackWhereItWasMade(t *testing.T) {
	r := newTokenRig(t)
	r.vaulted(t, vaultKey)
	in := r.input(t, human("demo-cleo"), map[string]any{"key": vaultKey, "reason": "x"})
	rotate := op(t, "key.rotate").(operation.Effectful)
	lost, err := rotate.Effect(t.Context(), r.env, in, "e-rotation", nil)
	require.NoError(t, err)
	r.run(t, "key.move", human("demo-dan"), map[string]any{"key": vaultKey, "keystore": custodiantest.KeystoreID, "reason": "out of the token"})
	require.Equal(t, custodiantest.KeystoreID, row[key.Key](t, r.rig, custodian.KindKey, vaultKey).Keystore)

	found, there, err := rotate.Recover(t.Context(), r.env, in, "e-rotation")
	require.NoError(t, err)
	require.True(t, there)
	require.Equal(t, lost.Material.CheckValue, found.Material.CheckValue)
	_, err = r.record(t, "key.rotate", in, found)
	require.Error(t, err)
	require.NoError(t, rotate.Undo(t.Context(), r.env, in, found))
	_, err = r.keystore.Find(t.Context(), "e-rotation")
	require.ErrorIs(t, err, hsm.ErrNotFound)
	require.Equal(t, []uint32{2}, r.actives(t, vaultKey))
}
