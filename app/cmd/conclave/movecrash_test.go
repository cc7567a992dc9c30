package main_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

const annex = "annex" // a second keystore

// withKeystore registers another keystore, whose shares the same people hold, and opens it.
func withKeystore(t *testing.T, n *node, id string) {
	t.Helper()
	_, err := n.govern(t.Context(), "keystore.register", map[string]any{"id": id, "driver": "software", "jurisdiction": "EU", "environment": "production",
		"location": "the other building", "controller": "ada", "share_set": map[string]any{"id": id + "-shares", "threshold": 3, "holders": []string{"ada", "ben", "cleo", "dan", "eve"}}})
	require.NoError(t, err)
	for _, who := range []string{"ada", "ben", "cleo", "dan"} {
		a, err := n.as(who)
		require.NoError(t, err)
		require.NoError(t, a.confirmOf(t.Context(), id+"-shares", 1), who)
	}
	require.NoError(t, n.open(t.Context(), id))
}

// TestInvariant10_AMoveSurvivesACrashAtEachStep: killed before its intent, between intent, effect and outcome, and after,
// a key that moves to and fro has exactly one version that protects, in the keystore that it lives in.
func TestInvariant10_AMoveSurvivesACrashAtEachStep(t *testing.T) {
	t.Parallel()
	n := atWork(t)
	withKeystore(t, n, annex)
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	l := newLoad()
	require.NoError(t, l.seal(t.Context(), app))
	home := vault
	for i, at := range crashes()["completing vote"] {
		to := annex
		if home == annex {
			to = vault
		}
		g := &governed{operation: "key.move", params: map[string]any{"key": cards, "keystore": to}, reason: fmt.Sprintf("move, killed %s", at)}
		g.crash(t, n, "completing vote", at)
		n = serve(t, n.dir)
		g.settle(t, n)
		require.NoError(t, n.activate(t.Context()))
		require.NoError(t, n.open(t.Context(), annex))
		g.finish(t, n)
		home = to
		livesIn(t, n, home, i+2)
		l.checkSealed(t, n) // what was sealed before and between the moves
		app, err = n.bearer(shared.appToken)
		require.NoError(t, err)
		require.NoError(t, l.seal(t.Context(), app))
	}
	ranOnce(t, n, "key.move", len(crashes()["completing vote"]))
}

// livesIn checks that a key has so many versions, of which the newest protects, in the keystore that it lives in.
func livesIn(t *testing.T, n *node, keystore string, versions int) {
	t.Helper()
	ada, err := n.as("ada")
	require.NoError(t, err)
	k, err := ada.api.Key(t.Context(), cards)
	require.NoError(t, err)
	require.Equal(t, keystore, k.Keystore)
	list, err := ada.api.Versions(t.Context(), cards)
	require.NoError(t, err)
	require.Len(t, list, versions)
	for _, v := range list {
		if v.State == "active" {
			require.EqualValues(t, versions, v.Version)
			require.Equal(t, keystore, v.Keystore)
		}
	}
	require.Equal(t, "active", list[len(list)-1].State)
}
