package dek

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/hsm/soft"
)

// keystore is a real software keystore that counts what is opened.
type keystore struct {
	*soft.Keystore
	activation *secret.Bytes
	opens      atomic.Int64
}

func (k *keystore) Open(ctx context.Context, m hsm.Material) (hsm.Handle, error) {
	k.opens.Add(1)
	return k.Keystore.Open(ctx, m)
}

func newKeystore(t *testing.T) *keystore {
	t.Helper()
	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	ks, err := soft.New(soft.Config{ID: "soft", Verifier: verifier})
	require.NoError(t, err)
	require.NoError(t, ks.Activate(t.Context(), activation))
	t.Cleanup(activation.Wipe)
	return &keystore{Keystore: ks, activation: activation}
}

func (k *keystore) version(t *testing.T, id string, number uint32) *key.Version {
	t.Helper()
	m, err := k.Create(t.Context(), id, number, hsm.AES256, rand.Text())
	require.NoError(t, err)
	return &key.Version{Key: id, Version: number, State: key.Active, Keystore: "soft", Material: m, Algorithm: hsm.AlgorithmDerivedAES256GCM}
}

func always(string, uint32) bool { return true }

func sealing() Sealing {
	return Sealing{At: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), Context: HashContext(map[string]string{"a": "b"})}
}

func roundTrip(t *testing.T, r *Ring, ks hsm.Keystore, v *key.Version) {
	t.Helper()
	ct, err := r.Seal(t.Context(), ks, v, sealing(), []byte("text"))
	require.NoError(t, err)
	requireOpens(t, r, ks, v, ct)
}

func requireOpens(t *testing.T, r *Ring, ks hsm.Keystore, v *key.Version, ct []byte) {
	t.Helper()
	h, header, body, err := Parse(ct)
	require.NoError(t, err)
	require.Equal(t, v.Key, h.Key)
	require.Equal(t, 4, PayloadBytes(h.Algorithm, body))
	plain, err := r.Open(t.Context(), ks, v, header, body, sealing().Context)
	require.NoError(t, err)
	require.Equal(t, "text", string(plain))
	_, err = r.Open(t.Context(), ks, v, header, body, HashContext(nil))
	require.ErrorIs(t, err, hsm.ErrCorrupt)
	require.NotErrorIs(t, err, ErrMaterial, "the ciphertext is wrong here, not the key")
}

func TestRingOpensAVersionOnce(t *testing.T) {
	ks := newKeystore(t)
	r := NewRing(always)
	v := ks.version(t, "k", 1)
	for range 5 {
		roundTrip(t, r, ks, v)
	}
	require.EqualValues(t, 1, ks.opens.Load())
	roundTrip(t, r, ks, ks.version(t, "k", 2))
	require.Len(t, r.handles, 2)
}

// The ciphertext is allocated once, at its size.
func TestSealAllocatesTheCiphertextOnce(t *testing.T) {
	ks := newKeystore(t)
	r := NewRing(always)
	v := ks.version(t, "k", 1)
	ct, err := r.Seal(t.Context(), ks, v, sealing(), []byte("text"))
	require.NoError(t, err)
	require.Len(t, ct, fixedHeader+1+v.Algorithm.Overhead()+4)
	require.LessOrEqual(t, cap(ct)-len(ct), 16, "no more than an allocation's rounding")
}

// A keystore that was deactivated and activated again has made every handle useless: they are opened anew.
func TestRingSurvivesReactivation(t *testing.T) {
	ks := newKeystore(t)
	r := NewRing(always)
	v := ks.version(t, "k", 1)
	ct, err := r.Seal(t.Context(), ks, v, sealing(), []byte("text"))
	require.NoError(t, err)
	require.NoError(t, ks.Deactivate(t.Context()))
	_, err = r.Seal(t.Context(), ks, v, sealing(), []byte("text"))
	require.ErrorIs(t, err, hsm.ErrInactive)
	require.Empty(t, r.handles, "dead handles are let go of")
	require.NoError(t, ks.Activate(t.Context(), ks.activation))
	requireOpens(t, r, ks, v, ct)
}

func TestRingReopensClosedHandles(t *testing.T) {
	ks := newKeystore(t)
	r := NewRing(always)
	v := ks.version(t, "k", 1)
	roundTrip(t, r, ks, v)
	require.NoError(t, ks.Destroy(t.Context(), v.Material)) // closes its handles
	roundTrip(t, r, ks, v)
	r.Drop("k", 1)
	require.Empty(t, r.handles)
	r.Drop("k", 1)
	roundTrip(t, r, ks, v)
	require.EqualValues(t, 3, ks.opens.Load())
}

// A handle is used for the material and keystore that it was opened from, and for no other.
func TestRingNoticesOtherMaterial(t *testing.T) {
	ks, other := newKeystore(t), newKeystore(t)
	r := NewRing(always)
	old := ks.version(t, "k", 1)
	ct, err := r.Seal(t.Context(), ks, old, sealing(), []byte("text"))
	require.NoError(t, err)
	replaced := ks.version(t, "k", 1)
	roundTrip(t, r, ks, replaced)
	_, header, body, err := Parse(ct)
	require.NoError(t, err)
	_, err = r.Open(t.Context(), ks, replaced, header, body, sealing().Context)
	require.ErrorIs(t, err, hsm.ErrCorrupt)
	moved := other.version(t, "k", 1)
	moved.Keystore = "other"
	roundTrip(t, r, other, moved)
	requireOpens(t, r, ks, old, ct)
	require.Len(t, r.handles, 1)
}

// What was destroyed does not stay open: not when it is swept, and not when a slow call opens it afterwards.
func TestRingForgetsDestroyedVersions(t *testing.T) {
	ks := newKeystore(t)
	var destroyed sync.Map
	r := NewRing(func(id string, _ uint32) bool { _, gone := destroyed.Load(id); return !gone })
	a, b := ks.version(t, "a", 1), ks.version(t, "b", 1)
	roundTrip(t, r, ks, a)
	roundTrip(t, r, ks, b)
	destroyed.Store("a", true)
	r.Sweep()
	require.Len(t, r.handles, 1)
	_, err := r.Seal(t.Context(), ks, a, sealing(), []byte("text"))
	require.ErrorIs(t, err, ErrMaterial)
	require.Len(t, r.handles, 1)
	roundTrip(t, r, ks, b)
}

func TestRingRefusesUnusableVersions(t *testing.T) {
	ks := newKeystore(t)
	for name, edit := range map[string]func(*key.Version){
		"destroyed":      func(v *key.Version) { v.State, v.Material = key.Destroyed, hsm.Material{} },
		"no blob":        func(v *key.Version) { v.Material.Blob = nil },
		"altered blob":   func(v *key.Version) { v.Material.Blob[20] ^= 1 },
		"check value":    func(v *key.Version) { v.Material.CheckValue = "0000000000" },
		"unknown state":  func(v *key.Version) { v.State = "waiting" },
		"algorithm":      func(v *key.Version) { v.Algorithm = 0 },
		"key name":       func(v *key.Version) { v.Key = "No Such Name" },
		"version number": func(v *key.Version) { v.Version = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRing(always)
			v := ks.version(t, "k", 1)
			edit(v)
			_, err := r.Seal(t.Context(), ks, v, sealing(), []byte("text"))
			require.ErrorIs(t, err, ErrMaterial)
			require.Empty(t, r.handles)
		})
	}
	early := sealing()
	early.At = time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err := NewRing(always).Seal(t.Context(), ks, ks.version(t, "k", 1), early, nil)
	require.ErrorIs(t, err, ErrMaterial, "an impossible time is an error, not a panic")
}

// The ring holds so many handles and no more; whose version was let go is opened anew.
func TestRingIsBounded(t *testing.T) {
	ks := newKeystore(t)
	r := NewRing(always)
	const beyond = 50
	versions := make([]*key.Version, MaxHandles+beyond)
	for i := range versions {
		versions[i] = ks.version(t, fmt.Sprintf("k%d", i), 1)
		_, err := r.Seal(t.Context(), ks, versions[i], sealing(), nil)
		require.NoError(t, err)
		require.LessOrEqual(t, len(r.handles), MaxHandles)
	}
	require.Len(t, r.handles, MaxHandles)
	for _, v := range versions[:beyond] {
		roundTrip(t, r, ks, v)
	}
	require.Len(t, r.handles, MaxHandles)
	require.NoError(t, ks.Deactivate(t.Context()))
}

// Callers in parallel, while handles are dropped and the keystore goes down and up: a call succeeds or says
// why not, and what succeeded opens.
func TestRingUnderChange(t *testing.T) {
	ks := newKeystore(t)
	r := NewRing(always)
	versions := []*key.Version{ks.version(t, "a", 1), ks.version(t, "b", 1), ks.version(t, "c", 1)}
	var wg sync.WaitGroup
	var stop atomic.Bool
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			r.Drop(versions[i%3].Key, 1)
			r.Sweep()
			if i%50 == 0 {
				if err := ks.Deactivate(context.Background()); err != nil {
					t.Error(err)
				}
				if err := ks.Activate(context.Background(), ks.activation); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(20 * time.Microsecond)
		}
	})
	var calls sync.WaitGroup
	for i := range 8 {
		calls.Go(func() {
			v := versions[i%3]
			for range 200 {
				ct, err := r.Seal(context.Background(), ks, v, sealing(), []byte("text"))
				if err != nil {
					if !unavailable(err) {
						t.Error(err)
					}
					continue
				}
				_, header, body, err := Parse(ct)
				if err != nil {
					t.Error(err)
					return
				}
				plain, err := r.Open(context.Background(), ks, v, header, body, sealing().Context)
				if err == nil && string(plain) != "text" || err != nil && !unavailable(err) {
					t.Errorf("got %q, %v", plain, err)
				}
			}
		})
	}
	calls.Wait()
	stop.Store(true)
	wg.Wait()
	r.Sweep()
	roundTrip(t, r, ks, versions[0])
}

func unavailable(err error) bool {
	return errors.Is(err, hsm.ErrInactive) || errors.Is(err, hsm.ErrClosed)
}
