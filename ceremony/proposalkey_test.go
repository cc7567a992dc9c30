package ceremony_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/store"
)

// A proposal repeated under its key, by a caller whose first answer was lost, opens nothing and does nothing
// twice: not in this process, and not in the next.
func TestInvariant10_AProposalRepeatedUnderItsKeyIsTheSame(t *testing.T) {
	r := newRig(t, custodian.Production)
	propose := func(who, operation, reason, key string) (*ceremony.Ceremony, error) {
		c, once, err := r.engine.Propose(t.Context(), human(who), ceremony.Proposal{Operation: operation, Reason: reason, Key: key})
		require.Nil(t, once)
		return c, err
	}
	governed, err := propose("demo-ada", "key.resume", "test", "k1")
	require.NoError(t, err)
	alone, err := propose("demo-ada", "key.suspend", "test", "k2")
	require.NoError(t, err)
	require.Equal(t, ceremony.Completed, alone.State)
	require.Equal(t, 1, r.done(t, "key.suspend"))

	size := r.Store.View().Head().Size
	for range 2 {
		again, err := propose("demo-ada", "key.resume", "test", "k1")
		require.NoError(t, err)
		require.Equal(t, governed, again)
		again, err = propose("demo-ada", "key.suspend", "test", "k2")
		require.NoError(t, err)
		require.Equal(t, alone.ID, again.ID)
		require.Equal(t, ceremony.Completed, again.State)
		r.restart(t)
	}
	require.Equal(t, 1, r.done(t, "key.suspend"))
	require.Equal(t, size, r.Store.View().Head().Size, "nothing was recorded, since nothing happened")

	_, err = propose("demo-ada", "key.resume", "another reason", "k1")
	require.ErrorIs(t, err, store.ErrIdempotencyConflict)
	other, err := propose("demo-ben", "key.suspend", "test", "k2")
	require.NoError(t, err)
	require.NotEqual(t, alone.ID, other.ID, "a key belongs to whoever uses it")
}
