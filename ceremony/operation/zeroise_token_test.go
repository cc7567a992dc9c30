//go:build cgo

package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/hsm"
)

// A token is emptied once: what a process left in the middle is found by what the token says of itself.
func TestInvariant10_ATokenIsZeroised(t *testing.T) {
	r := newTokenRig(t)
	r.spare(t)
	r.vaulted(t, vaultKey)
	material := r.version(t, vaultKey, 1).Material
	params := map[string]any{"keystore": vault, "reason": "the device is returned"}
	require.NoError(t, r.keystore.Deactivate(t.Context()))
	require.Contains(t, r.refused(t, "demo-ada", "keystore.zeroise", params), custodian.CodeKeystoreInactive)
	require.NoError(t, r.keystore.Activate(t.Context(), r.combineOf(t, 1, 1, 2, 3)))
	c := r.zeroise(t)
	require.Equal(t, ceremony.Approved, c.State, c.Outcome)

	zeroise := op(t, "keystore.zeroise").(operation.Effectful)
	in := r.input(t, node(), params)
	_, found, err := zeroise.Recover(t.Context(), r.env, in, "e-zeroise")
	require.NoError(t, err)
	require.False(t, found, "nothing has happened")
	r.waited(t, c.ID)
	require.NoError(t, r.engine.Tick(t.Context()))
	c, err = r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	require.Equal(t, key.KeystoreZeroised, row[key.Keystore](t, r.rig, custodian.KindKeystore, vault).Status)
	require.Equal(t, key.Destroyed, r.version(t, vaultKey, 1).State)

	_, found, err = zeroise.Recover(t.Context(), r.env, in, "e-zeroise")
	require.NoError(t, err)
	require.True(t, found, "and a process that ended before it was on record would know")
	_, err = zeroise.Effect(t.Context(), r.env, in, "e-zeroise", nil)
	require.NoError(t, err, "twice is once")
	erased, err := r.keystore.(hsm.Eraser).Erased(t.Context())
	require.NoError(t, err)
	require.True(t, erased)
	require.False(t, r.keystore.Active())
	require.Error(t, r.keystore.Activate(t.Context(), r.combineOf(t, 1, 1, 2, 3)), "its PIN is gone")
	_, err = r.keystore.Open(t.Context(), material)
	require.Error(t, err)
}
