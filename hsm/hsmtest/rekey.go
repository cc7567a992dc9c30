package hsmtest

import (
	"bytes"
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

// stage has a secret follow the present one, and returns what the record is to hold then.
func stage(t *testing.T, k hsm.Rekeyer, next *secret.Bytes, verifier []byte) []byte {
	t.Helper()
	recorded, err := k.Stage(t.Context(), next, verifier)
	require.NoError(t, err)
	return recorded
}

// rewrap is the material under the staged secret: the same where the keystore holds the keys.
func rewrap(t *testing.T, k hsm.Rekeyer, m hsm.Material) hsm.Material {
	t.Helper()
	next, err := k.Rewrap(t.Context(), m)
	if k.Capabilities().StoresKeys {
		require.ErrorIs(t, err, hsm.ErrUnsupported, "nothing is wrapped here")
		return m
	}
	require.NoError(t, err)
	return next
}

func testRekey(t *testing.T, f Fixture, k hsm.Rekeyer) {
	m, h := ready(t, f)
	body := seal(t, h, []byte("text"), nil)
	next, verifier := successor(t, k)
	_, err := k.Rewrap(t.Context(), m)
	require.ErrorIs(t, err, hsm.ErrUnsupported, "nothing is staged")
	recorded := stage(t, k, next, verifier)

	wrapped := rewrap(t, k, m)
	stores := k.Capabilities().StoresKeys
	require.Equal(t, stores, bytes.Equal(m.Blob, wrapped.Blob))
	require.Equal(t, m.CheckValue, wrapped.CheckValue)
	require.Equal(t, m.EffectID, wrapped.EffectID)
	require.True(t, k.Wraps(wrapped, verifier))
	require.Equal(t, stores, k.Wraps(m, verifier))
	for _, either := range []hsm.Material{m, wrapped, rewrap(t, k, wrapped)} {
		text, err := open(t, k, either).Open(t.Context(), nil, body, nil)
		require.NoError(t, err, "while a secret is staged material under either opens")
		require.Equal(t, []byte("text"), text)
	}
	altered := m
	altered.Blob = flip(m.Blob, 8*len(m.Blob)-1)
	if !stores {
		_, err = k.Rewrap(t.Context(), altered)
		require.ErrorIs(t, err, hsm.ErrCorrupt, "what does not open is not wrapped anew")
	}
	before := create(t, k, keyID, 2, "suite-effect-2")
	require.Equal(t, stores, k.Wraps(before, verifier), "until it is followed nothing is made under the staged secret")

	k.Follow(recorded)
	require.True(t, k.Active())
	_, err = h.Open(t.Context(), nil, body, nil)
	require.NoError(t, err, "open handles live through it")
	text, err := open(t, k, wrapped).Open(t.Context(), nil, body, nil)
	require.NoError(t, err)
	require.Equal(t, []byte("text"), text)
	for _, old := range []hsm.Material{m, before} {
		h, err := k.Open(t.Context(), old)
		if stores {
			require.NoError(t, err, "keys in a device do not depend on the secret")
			h.Close()
			continue
		}
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

// testRewraps: whatever a key is, it is wrapped anew under a secret that is to follow.
func testRewraps(t *testing.T, f Fixture, m hsm.Material) {
	t.Helper()
	k, ok := f.Keystore.(hsm.Rekeyer)
	if !ok || k.Capabilities().StoresKeys {
		return // nothing is wrapped there
	}
	next, verifier := successor(t, k)
	stage(t, k, next, verifier)
	defer k.Unstage()
	again := rewrap(t, k, m)
	require.Equal(t, m.CheckValue, again.CheckValue)
	require.Equal(t, m.Public, again.Public)
	require.Equal(t, m.Specification(), openAs[hsm.Handle](t, k, again).Spec())
}

func testStage(t *testing.T, f Fixture, k hsm.Rekeyer) {
	next, verifier := successor(t, k)
	_, err := k.Stage(t.Context(), next, verifier)
	require.ErrorIs(t, err, hsm.ErrInactive)
	m, _ := ready(t, f)
	for name, wrong := range map[string]*secret.Bytes{"the present secret": f.Activation, "another": f.WrongActivation, "nil": nil, "empty": secret.New(nil)} {
		_, err := k.Stage(t.Context(), wrong, verifier)
		require.ErrorIs(t, err, hsm.ErrActivationSecret, name)
	}
	_, err = k.Stage(t.Context(), next, nil)
	require.ErrorIs(t, err, hsm.ErrActivationSecret)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = k.Stage(cancelled, next, verifier)
	require.ErrorIs(t, err, context.Canceled)
	_, err = k.Rewrap(t.Context(), m)
	require.ErrorIs(t, err, hsm.ErrUnsupported, "none of these staged anything")

	mine := next.Clone()
	require.Equal(t, verifier, stage(t, k, mine, verifier)[:len(verifier)], "the record begins with the verifier")
	require.True(t, mine.Equal(next), "staging leaves the caller's secret alone")
	mine.Wipe()
	wrapped := rewrap(t, k, m)
	if !k.Capabilities().StoresKeys {
		_, err = k.Rewrap(cancelled, m)
		require.ErrorIs(t, err, context.Canceled)
	}

	k.Unstage()
	k.Unstage()
	forgotten(t, k, wrapped, "what was staged is forgotten")
	open(t, k, m)

	stage(t, k, next, verifier)
	require.NoError(t, k.Deactivate(t.Context()))
	activate(t, f)
	forgotten(t, k, wrapped, "deactivation forgets what was staged too")
}

// forgotten: what was wrapped under a staged secret does not open.
func forgotten(t *testing.T, k hsm.Rekeyer, wrapped hsm.Material, why string) {
	t.Helper()
	if k.Capabilities().StoresKeys {
		return
	}
	_, err := k.Open(t.Context(), wrapped)
	require.Error(t, err, why)
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
	if k.Capabilities().StoresKeys { // the device says what opens it, and this one it was never given
		require.ErrorIs(t, k.Activate(t.Context(), elsewhere), hsm.ErrActivationSecret)
		return
	}
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
	replacements := rounds
	if k.Capabilities().StoresKeys {
		replacements /= 8 // a device is slow at it
	}
	for range replacements {
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
	recorded, err := k.Stage(ctx, next, verifier)
	if err != nil {
		return err
	}
	if !k.Capabilities().StoresKeys {
		wrapped, err := k.Rewrap(ctx, *stored.Load())
		if err != nil {
			return fmt.Errorf("wrapping anew: %w", err)
		}
		stored.Store(&wrapped)
	}
	k.Follow(recorded)
	return nil
}
