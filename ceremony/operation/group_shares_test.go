package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/hsm"
)

// The shares of one member are issued anew: its copies are wrapped under the new secret, the group serves meanwhile, and the
// pair that keys are sent to it under is made anew.
func TestInvariant04_ReissueOfAMemberOfAGroup(t *testing.T) {
	r := &sharesRig{engineRig: newEngineRig(t)}
	r.enrolPerson(t, theWitness, "witness")
	r.register(t)
	for i := range 5 {
		r.confirm(t, vaultSet, 1, i+1)
	}
	_, err := r.execute(t, "keystore.activate", r.input(t, node(), map[string]any{"keystore": vault}), r.combine(t, 1, 2, 3))
	require.NoError(t, err)
	r.keystore, err = r.Keystore(vault)
	require.NoError(t, err)
	north := r.addKeystore(t, "north", func(ks *key.Keystore) {
		ks.Environment = row[key.Keystore](t, r.rig, custodian.KindKeystore, vault).Environment
	})
	r.decided(t, "demo-cleo", "group.create", newGroup(vault, "north"), "demo-ada", "demo-ben")
	r.grouped(t, "orders")
	first, err := r.use(t, "orders")
	require.NoError(t, err)
	old, _ := r.version(t, "orders", 1).Material.In(vault)

	r.reissue(t, map[string]any{"set": vaultSet})
	c := r.cutover(t)
	require.Equal(t, ceremony.Completed, c.State, c.Outcome)
	v := r.version(t, "orders", 1)
	now, has := v.Material.In(vault)
	require.True(t, has)
	require.NotEqual(t, old.Blob, now.Blob)
	require.True(t, r.keystore.(hsm.Rekeyer).Wraps(now, row[key.Keystore](t, r.rig, custodian.KindKeystore, vault).Verifier))
	require.NoError(t, r.decrypt(t, first))
	require.NoError(t, r.member(t, "north").Deactivate(t.Context()))
	require.NoError(t, r.decrypt(t, first), "by the member whose secret was replaced")
	require.NoError(t, r.member(t, vault).Deactivate(t.Context()))
	require.NoError(t, r.member(t, vault).Activate(t.Context(), r.combineOf(t, 2, 1, 2, 3)))
	require.NoError(t, r.decrypt(t, first), "after a start")
	require.True(t, r.resync(t), "the pair that keys are sent to it under is under the secret before")
	require.False(t, r.resync(t))
	require.NoError(t, r.member(t, "north").Activate(t.Context(), north))
	r.run(t, "key.rotate", human("demo-cleo"), map[string]any{"key": "orders", "reason": "x"})
	r.even(t, 2)
}
