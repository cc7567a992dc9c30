package hsmtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// rekeying runs a test of the optional capability hsm.Rekeyer. A driver without it has nothing to be held to.
func rekeying(test func(t *testing.T, f Fixture, k hsm.Rekeyer)) func(t *testing.T, f Fixture) {
	return func(t *testing.T, f Fixture) {
		if k, ok := f.Keystore.(hsm.Rekeyer); ok {
			test(t, f, k)
		}
	}
}

// successor is a secret that is to follow, until the test ends.
func successor(t *testing.T, k hsm.Rekeyer) (*secret.Bytes, []byte) {
	t.Helper()
	next, verifier, err := k.NewActivation()
	require.NoError(t, err)
	t.Cleanup(next.Wipe)
	return next, verifier
}

func rewrap(t *testing.T, k hsm.Rekeyer, m hsm.Material) hsm.Material {
	t.Helper()
	next, err := k.Rewrap(t.Context(), m)
	require.NoError(t, err)
	return next
}

func testRekey(t *testing.T, f Fixture, k hsm.Rekeyer) {
	m, h := ready(t, f)
	body := seal(t, h, []byte("text"), nil)
	next, verifier := successor(t, k)
	_, err := k.Rewrap(t.Context(), m)
	require.ErrorIs(t, err, hsm.ErrUnsupported, "nothing is staged")
	require.NoError(t, k.Stage(t.Context(), next, verifier))

	wrapped := rewrap(t, k, m)
	require.NotEqual(t, m.Blob, wrapped.Blob)
	require.Equal(t, m.CheckValue, wrapped.CheckValue)
	require.Equal(t, m.EffectID, wrapped.EffectID)
	require.True(t, k.Wraps(wrapped, verifier))
	require.False(t, k.Wraps(m, verifier))
	for _, either := range []hsm.Material{m, wrapped, rewrap(t, k, wrapped)} {
		text, err := open(t, k, either).Open(t.Context(), nil, body, nil)
		require.NoError(t, err, "while a secret is staged material under either opens")
		require.Equal(t, []byte("text"), text)
	}
	for i, spec := range k.Capabilities().Makes() { // whatever the key is
		one, err := k.Create(t.Context(), "of-a-kind", uint32(i+1), spec, "suite-kind-"+string(spec))
		require.NoError(t, err)
		again := rewrap(t, k, one)
		require.Equal(t, one.CheckValue, again.CheckValue)
		require.Equal(t, one.Public, again.Public)
		h, err := k.Open(t.Context(), again)
		require.NoError(t, err, spec)
		require.Equal(t, spec, h.Spec())
		h.Close()
	}
	altered := m
	altered.Blob = flip(m.Blob, 8*len(m.Blob)-1)
	_, err = k.Rewrap(t.Context(), altered)
	require.ErrorIs(t, err, hsm.ErrCorrupt, "what does not open is not wrapped anew")
	before := create(t, k, keyID, 2, "suite-effect-2")
	require.False(t, k.Wraps(before, verifier), "until it is followed nothing is made under the staged secret")

	k.Follow(verifier)
	require.True(t, k.Active())
	_, err = h.Open(t.Context(), nil, body, nil)
	require.NoError(t, err, "open handles live through it")
	text, err := open(t, k, wrapped).Open(t.Context(), nil, body, nil)
	require.NoError(t, err)
	require.Equal(t, []byte("text"), text)
	for _, old := range []hsm.Material{m, before} {
		_, err = k.Open(t.Context(), old)
		require.Error(t, err, "the secret before opens nothing any more")
	}
	require.True(t, k.Wraps(create(t, k, keyID, 3, "suite-effect-3"), verifier))

	require.NoError(t, k.Deactivate(t.Context()))
	require.ErrorIs(t, k.Activate(t.Context(), f.Activation), hsm.ErrActivationSecret)
	require.ErrorIs(t, k.CheckActivation(f.Activation), hsm.ErrActivationSecret)
	require.NoError(t, k.CheckActivation(next))
	require.NoError(t, k.Activate(t.Context(), next))
	open(t, k, wrapped)
}

func testStage(t *testing.T, f Fixture, k hsm.Rekeyer) {
	next, verifier := successor(t, k)
	require.ErrorIs(t, k.Stage(t.Context(), next, verifier), hsm.ErrInactive)
	m, _ := ready(t, f)
	for name, wrong := range map[string]*secret.Bytes{"the present secret": f.Activation, "another": f.WrongActivation, "nil": nil, "empty": secret.New(nil)} {
		require.ErrorIs(t, k.Stage(t.Context(), wrong, verifier), hsm.ErrActivationSecret, name)
	}
	require.ErrorIs(t, k.Stage(t.Context(), next, nil), hsm.ErrActivationSecret)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, k.Stage(cancelled, next, verifier), context.Canceled)
	_, err := k.Rewrap(t.Context(), m)
	require.ErrorIs(t, err, hsm.ErrUnsupported, "none of these staged anything")

	mine := next.Clone()
	require.NoError(t, k.Stage(t.Context(), mine, verifier))
	require.True(t, mine.Equal(next), "staging leaves the caller's secret alone")
	mine.Wipe()
	wrapped := rewrap(t, k, m)
	_, err = k.Rewrap(cancelled, m)
	require.ErrorIs(t, err, context.Canceled)

	k.Unstage()
	k.Unstage()
	_, err = k.Open(t.Context(), wrapped)
	require.Error(t, err, "what was staged is forgotten")
	open(t, k, m)

	require.NoError(t, k.Stage(t.Context(), next, verifier))
	require.NoError(t, k.Deactivate(t.Context()))
	activate(t, f)
	_, err = k.Open(t.Context(), wrapped)
	require.Error(t, err, "deactivation forgets what was staged too")
}

func testFollow(t *testing.T, f Fixture, k hsm.Rekeyer) {
	m, h := ready(t, f)
	body := seal(t, h, []byte("text"), nil)
	_, staged := successor(t, k)
	elsewhere, verifier := successor(t, k) // another node took part in this one

	for _, malformed := range [][]byte{nil, {}, staged[:len(staged)-1], append([]byte{0xff}, staged[1:]...)} {
		k.Follow(malformed)
		require.True(t, k.Active(), "no verifier of this driver: nothing changes")
	}
	k.Follow(verifier)
	require.False(t, k.Active(), "the secret that it holds is no longer the keystore's")
	requireEnded(t, h, body, nil, hsm.ErrInactive)
	require.ErrorIs(t, k.Activate(t.Context(), f.Activation), hsm.ErrActivationSecret)
	require.NoError(t, k.Activate(t.Context(), elsewhere))
	_, err := k.Open(t.Context(), m)
	require.ErrorIs(t, err, hsm.ErrInactive, "it could be opened with another secret: corrupt is not the word")
	k.Follow(verifier)
	require.True(t, k.Active(), "following twice is following once")
}

// testConcurrentRekey: whoever uses keys meanwhile notices nothing.
func testConcurrentRekey(t *testing.T, f Fixture, k hsm.Rekeyer) {
	m, shared := ready(t, f)
	var group sync.WaitGroup
	stop := make(chan struct{})
	var stored atomic.Pointer[hsm.Material] // what the caller's record says now
	stored.Store(&m)
	for worker := range workers {
		group.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				now := stored.Load()
				err := useOnce(t.Context(), k, shared, *now, worker, round)
				if errors.Is(err, hsm.ErrInactive) && stored.Load() != now {
					continue // read before the record changed, used after it was followed: the caller reads again
				}
				if err != nil {
					t.Errorf("worker %d round %d: %v", worker, round, err)
					return
				}
			}
		})
	}
	for range rounds {
		if err := replaceOnce(t.Context(), k, &stored); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	group.Wait()
}

func replaceOnce(ctx context.Context, k hsm.Rekeyer, stored *atomic.Pointer[hsm.Material]) error {
	next, verifier, err := k.NewActivation()
	if err != nil {
		return err
	}
	defer next.Wipe()
	if err := k.Stage(ctx, next, verifier); err != nil {
		return err
	}
	wrapped, err := k.Rewrap(ctx, *stored.Load())
	if err != nil {
		return fmt.Errorf("wrapping anew: %w", err)
	}
	stored.Store(&wrapped)
	k.Follow(verifier)
	return nil
}
