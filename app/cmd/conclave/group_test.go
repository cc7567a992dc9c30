package main_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
)

// group is the keystore that annex and another are together.
func (n *node) group(t *testing.T) api.Keystore {
	t.Helper()
	ada, err := n.as("ada")
	require.NoError(t, err)
	all, err := ada.api.Keystores(t.Context())
	require.NoError(t, err)
	for _, k := range all {
		if k.ID == "pair" {
			return k
		}
	}
	require.Fail(t, "no group")
	return api.Keystore{}
}

// TestAGroupServesWithOneMember: formed under kill -9, it holds a key that moved into it; after a start one member is enough
// for every call, and the other is brought up to date by itself.
func TestAGroupServesWithOneMember(t *testing.T) {
	t.Parallel()
	n := atWork(t)
	withKeystore(t, n, annex)
	withKeystore(t, n, "annex-2")
	l := newLoad()
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	require.NoError(t, l.seal(t.Context(), app))

	g := &governed{operation: "group.create", params: map[string]any{"id": "pair", "members": []string{annex, "annex-2"}, "location": "two buildings", "controller": "ada"}, reason: "one is not enough"}
	g.crash(t, n, "completing vote", 2) // its intent is on record, its outcome may be
	n = serve(t, n.dir)
	g.settle(t, n)
	for _, id := range []string{vault, annex, "annex-2"} {
		require.NoError(t, n.open(t.Context(), id))
	}
	g.finish(t, n)
	_, err = n.govern(t.Context(), "key.move", map[string]any{"key": cards, "keystore": "pair"})
	require.NoError(t, err)
	app, err = n.bearer(shared.appToken)
	require.NoError(t, err)
	require.NoError(t, l.seal(t.Context(), app))

	n.kill()
	n = serve(t, n.dir)
	for _, id := range []string{vault, "annex-2"} {
		require.NoError(t, n.open(t.Context(), id))
	}
	status, err := n.status(t.Context())
	require.NoError(t, err)
	require.True(t, status.Ready, "%v", status.Problems)
	l.checkSealed(t, n)
	app, err = n.bearer(shared.appToken)
	require.NoError(t, err)
	require.NoError(t, l.seal(t.Context(), app))

	ada, err := n.as("ada")
	require.NoError(t, err)
	_, err = ada.api.Propose(t.Context(), "group.drain", map[string]any{"group": "pair", "keystore": annex, "reason": "maintenance"}, "maintenance")
	require.NoError(t, err)
	require.NoError(t, n.open(t.Context(), annex))
	_, err = n.govern(t.Context(), "group.undrain", map[string]any{"group": "pair", "keystore": annex, "reason": "done"})
	require.NoError(t, err)
	eventually(t, "every member to hold every key", func() (bool, error) {
		k := n.group(t)
		return k.Degraded == 0 && k.Members[0].Holds == 1 && k.Members[1].Holds == 1, fmt.Errorf("%+v", k.Members)
	})
	versions, err := ada.api.Versions(t.Context(), cards)
	require.NoError(t, err)
	newest := versions[len(versions)-1]
	require.Len(t, newest.Members, 2)
	for _, m := range newest.Members {
		require.Equal(t, newest.CheckValue, m.CheckValue)
	}
	l.checkSealed(t, n)
	exported(t, n)
}
