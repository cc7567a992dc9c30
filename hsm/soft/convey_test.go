package soft_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/soft"
)

// A secret is kept, and given, only where that was asked for, and only while the keystore is active.
func TestConvey(t *testing.T) {
	ctx := t.Context()
	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	k, err := soft.New(soft.Config{ID: "soft", Verifier: verifier})
	require.NoError(t, err)
	require.NoError(t, k.Activate(ctx, activation))
	_, err = k.Convey()
	require.ErrorIs(t, err, hsm.ErrUnsupported)

	k, err = soft.New(soft.Config{ID: "soft", Verifier: verifier, Conveys: true})
	require.NoError(t, err)
	_, err = k.Convey()
	require.ErrorIs(t, err, hsm.ErrInactive)
	require.NoError(t, k.Activate(ctx, activation))
	given, err := k.Convey()
	require.NoError(t, err)
	require.True(t, given.Equal(activation))
	other, err := soft.New(soft.Config{ID: "soft", Verifier: verifier})
	require.NoError(t, err)
	require.NoError(t, other.Activate(ctx, given))

	// After a cutover it is the secret in force, staged or not before.
	next, nextVerifier, err := k.NewActivation()
	require.NoError(t, err)
	_, err = k.Stage(ctx, next, nextVerifier)
	require.NoError(t, err)
	given, err = k.Convey()
	require.NoError(t, err)
	require.True(t, given.Equal(activation))
	k.Follow(nextVerifier)
	given, err = k.Convey()
	require.NoError(t, err)
	require.True(t, given.Equal(next))
	require.NoError(t, k.Deactivate(ctx))
	_, err = k.Convey()
	require.ErrorIs(t, err, hsm.ErrInactive)
}
