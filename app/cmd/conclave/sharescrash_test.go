package main_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/ceremony/statement"
)

const vaultShares = "vault-shares"

// attend has the witness sign that they are there.
func (n *node) attend(ctx context.Context, ceremony string) error {
	a, err := n.as("audrey")
	if err != nil {
		return err
	}
	payload, err := a.api.Statement(ctx, ceremony, "attend")
	if err != nil {
		return err
	}
	envelope, err := a.signer.Sign(statement.TypeStatement, payload)
	if err == nil {
		_, err = a.api.Vote(ctx, ceremony, envelope)
	}
	return err
}

func (n *node) shareSet(t *testing.T) api.ShareSet {
	t.Helper()
	a, err := n.as("ada")
	require.NoError(t, err)
	sets, err := a.api.ShareSets(t.Context())
	require.NoError(t, err)
	require.Len(t, sets, 1)
	return sets[0]
}

// beginShares opens a ceremony that takes shares and has all but the last of them brought.
func (n *node) beginShares(t *testing.T, operation string, params map[string]any, witness bool) (last func(context.Context) error) {
	t.Helper()
	ada, err := n.as("ada")
	require.NoError(t, err)
	p, err := ada.api.Propose(t.Context(), operation, params, "a test")
	require.NoError(t, err)
	if witness && !voted(p.Ceremony, "audrey") { // one that a crash left open is gone on with
		require.NoError(t, n.attend(t.Context(), p.Ceremony.ID))
	}
	for _, id := range []string{"ada", "ben"} {
		require.NoError(t, bring(n, id, p.Ceremony.ID)(t.Context()))
	}
	return func(ctx context.Context) error {
		cleo, err := n.as("cleo")
		if err != nil {
			return err
		}
		c, err := cleo.bring(ctx, p.Ceremony.ID)
		if err == nil && c.State != "completed" {
			err = fmt.Errorf("%s is %s: %s", operation, c.State, c.Outcome)
		}
		return err
	}
}

// oneEpochWorks checks after a restart that the epoch in force opens the vault and what was sealed before, and that no
// other epoch is taken.
func oneEpochWorks(t *testing.T, n *node, l *load) {
	t.Helper()
	set := n.shareSet(t)
	ada, err := n.as("ada")
	require.NoError(t, err)
	c, err := ada.activation(t.Context())
	require.NoError(t, err)
	require.Equal(t, set.Epoch, c.ShareEpoch)
	require.NoError(t, n.activate(t.Context()), "epoch %d is in force", set.Epoch)
	l.checkSealed(t, n)
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	require.NoError(t, l.seal(t.Context(), app))
}

// TestInvariant10_AReissueSurvivesACrashAtEachStep: killed before, between and after, exactly one epoch works, and what
// was acknowledged is so.
func TestInvariant10_AReissueSurvivesACrashAtEachStep(t *testing.T) {
	t.Parallel()
	n := atWork(t)
	l := newLoad()
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	require.NoError(t, l.seal(t.Context(), app))
	cuts := []cut{sent, 1, 2, 3, answered}
	reissue := func() func(context.Context) error {
		return n.beginShares(t, "shares.reissue", map[string]any{"set": vaultShares}, true)
	}
	for _, at := range cuts {
		before := n.shareSet(t)
		acknowledged := n.killAt(t, at, reissue())
		n = serve(t, n.dir)
		after := n.shareSet(t)
		require.Equal(t, before.Epoch, after.Epoch, "issuing changes no epoch in force")
		if acknowledged {
			require.NotNil(t, after.Pending, "an acknowledged issue is gone")
			require.True(t, before.Pending == nil || after.Pending.Epoch > before.Pending.Epoch)
		}
		oneEpochWorks(t, n, l)
	}
	for _, at := range cuts {
		if n.shareSet(t).Pending == nil {
			require.NoError(t, reissue()(t.Context()))
		}
		pending := n.shareSet(t).Pending
		confirmPending(t, n, pending.Epoch)
		before := n.shareSet(t)
		last := n.beginShares(t, "shares.cutover", map[string]any{"set": vaultShares}, false)
		acknowledged := n.killAt(t, at, last)
		n = serve(t, n.dir)
		after := n.shareSet(t)
		switch after.Epoch {
		case before.Epoch:
			require.False(t, acknowledged, "an acknowledged cutover is gone")
			require.Equal(t, before.Pending.Epoch, after.Pending.Epoch)
		case before.Pending.Epoch:
			require.Nil(t, after.Pending)
		default:
			t.Fatalf("epoch %d is in force; it was %d, and %d was pending", after.Epoch, before.Epoch, before.Pending.Epoch)
		}
		oneEpochWorks(t, n, l)
	}
	for _, e := range exported(t, n) {
		require.NotEqual(t, "integrity.violation", e.Type)
	}
}

// confirmPending has m+1 holders confirm, where they have not yet.
func confirmPending(t *testing.T, n *node, epoch uint32) {
	t.Helper()
	for _, id := range []string{"ada", "ben", "cleo", "dan"} {
		a, err := n.as(id)
		require.NoError(t, err)
		line, share, err := a.share(t.Context(), vaultShares, epoch)
		require.NoError(t, err)
		share.Wipe()
		if line.Status == "issued" {
			require.NoError(t, a.confirm(t.Context(), epoch))
		}
	}
}

// TestInvariant10_ACutoverUnderLoadLosesNothing: applications go on while epochs are replaced; no call fails, and all that
// was acknowledged decrypts, also after a restart with the last epoch.
func TestInvariant10_ACutoverUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	n := atWork(t)
	l := newLoad()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	failed := make(chan error, 4)
	for range 4 {
		app, err := n.bearer(shared.appToken)
		require.NoError(t, err)
		go func() {
			var err error
			for ctx.Err() == nil && err == nil {
				err = l.seal(ctx, app)
			}
			if errors.Is(err, context.Canceled) || ctx.Err() != nil {
				err = nil
			}
			failed <- err
		}()
	}
	for range 3 {
		require.NoError(t, n.beginShares(t, "shares.reissue", map[string]any{"set": vaultShares}, true)(t.Context()))
		confirmPending(t, n, n.shareSet(t).Pending.Epoch)
		require.NoError(t, n.beginShares(t, "shares.cutover", map[string]any{"set": vaultShares}, false)(t.Context()))
		made := l.done.Load()
		eventually(t, "calls after the cutover", func() (bool, error) { return l.done.Load() > made+8, nil })
	}
	stop()
	for range 4 {
		require.NoError(t, <-failed)
	}
	l.checkSealed(t, n)
	n.kill()
	n = serve(t, n.dir)
	oneEpochWorks(t, n, l)
}
