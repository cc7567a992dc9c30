package soft_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/hsmtest"
	"conclave/hsm/secret"
	"conclave/hsm/soft"
)

func newKeystore(t testing.TB, id string) (*soft.Keystore, *secret.Bytes) {
	t.Helper()
	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	t.Cleanup(activation.Wipe)
	keystore, err := soft.New(soft.Config{ID: id, Verifier: verifier})
	require.NoError(t, err)
	return keystore, activation
}

func TestConformance(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T) hsmtest.Fixture {
		keystore, activation := newKeystore(t, "suite-keystore")
		other, otherActivation := newKeystore(t, "suite-keystore-2")
		wrong, _, err := soft.NewActivation()
		require.NoError(t, err)
		return hsmtest.Fixture{
			Keystore: keystore, Activation: activation, WrongActivation: wrong,
			Other: other, OtherActivation: otherActivation,
		}
	})
}

func TestCapabilitiesOfTheSoftwareKeystore(t *testing.T) {
	keystore, _ := newKeystore(t, "capabilities")
	require.Equal(t, hsm.Capabilities{
		Algorithms:  []hsm.Algorithm{hsm.AlgorithmDerivedAES256GCM},
		Specs:       hsm.Specs(),
		MaxMessage:  64 << 10,
		KeyStrength: 256,
		Imports: []hsm.ImportCapability{
			{Form: hsm.ImportComponents, Specs: []hsm.Spec{hsm.AES256}, Inside: true},
			{Form: hsm.ImportWrapped, Specs: hsm.Specs(), WrappingSpecs: []hsm.Spec{hsm.RSAOAEP4096, hsm.RSAOAEP3072}, Inside: true},
		},
	}, keystore.Capabilities())
}

func TestNewRefusesBadConfig(t *testing.T) {
	_, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		config soft.Config
		field  string
	}{
		{"no id", soft.Config{Verifier: verifier}, "keystore id"},
		{"long id", soft.Config{ID: strings.Repeat("x", 256), Verifier: verifier}, "keystore id"},
		{"no verifier", soft.Config{ID: "k"}, "keystore verifier"},
		{"cut verifier", soft.Config{ID: "k", Verifier: verifier[:len(verifier)-1]}, "keystore verifier"},
		{"unknown format", soft.Config{ID: "k", Verifier: append([]byte{2}, verifier[1:]...)}, "keystore verifier"},
	} {
		t.Run(c.name, func(t *testing.T) {
			keystore, err := soft.New(c.config)
			require.Nil(t, keystore)
			require.ErrorIs(t, err, hsm.ErrInvalid)
			require.ErrorContains(t, err, c.field)
		})
	}
}

func TestActivationSecretsAreTheirOwn(t *testing.T) {
	a, verifierA, err := soft.NewActivation()
	require.NoError(t, err)
	b, verifierB, err := soft.NewActivation()
	require.NoError(t, err)
	require.Equal(t, 32, a.Len())
	require.False(t, a.Equal(b))
	require.NotEqual(t, verifierA, verifierB)
	require.NoError(t, a.Use(func(secretBytes []byte) error {
		require.False(t, bytes.Contains(verifierA, secretBytes))
		return nil
	}))
}

// The same activation secret under another keystore id opens no blob: the id is bound.
func TestBlobIsBoundToKeystoreID(t *testing.T) {
	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	var stores []*soft.Keystore
	for _, id := range []string{"one", "two"} {
		k, err := soft.New(soft.Config{ID: id, Verifier: verifier})
		require.NoError(t, err)
		require.NoError(t, k.Activate(t.Context(), activation))
		stores = append(stores, k)
	}
	m, err := stores[0].Create(t.Context(), "key", 1, hsm.AES256, "effect")
	require.NoError(t, err)
	_, err = stores[1].Open(t.Context(), m)
	require.ErrorIs(t, err, hsm.ErrCorrupt)
}

// The config's verifier is copied: changing the caller's slice later changes nothing.
func TestVerifierIsCopied(t *testing.T) {
	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	keystore, err := soft.New(soft.Config{ID: "k", Verifier: verifier})
	require.NoError(t, err)
	clear(verifier)
	require.NoError(t, keystore.Activate(t.Context(), activation))
}

// Nothing is stored, so an effect repeated is another key; the caller records one of them.
func TestRepeatedEffectMakesAnotherKey(t *testing.T) {
	keystore, activation := newKeystore(t, "effects")
	require.NoError(t, keystore.Activate(t.Context(), activation))
	first, err := keystore.Create(t.Context(), "key", 1, hsm.AES256, "effect")
	require.NoError(t, err)
	second, err := keystore.Create(t.Context(), "key", 1, hsm.AES256, "effect")
	require.NoError(t, err)
	require.NotEqual(t, first.CheckValue, second.CheckValue)
}

// Destroy restricts, so it works on an inactive keystore and with a cancelled context.
func TestDestroyNeedsNoActivation(t *testing.T) {
	keystore, _ := newKeystore(t, "destroy")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, keystore.Destroy(cancelled, hsm.Material{Key: "key", Version: 1}))
}

func TestHandleSealsIntoSpareCapacity(t *testing.T) {
	keystore, activation := newKeystore(t, "capacity")
	require.NoError(t, keystore.Activate(t.Context(), activation))
	m, err := keystore.Create(t.Context(), "key", 1, hsm.AES256, "effect")
	require.NoError(t, err)
	h, err := keystore.Open(t.Context(), m)
	require.NoError(t, err)
	sealer, err := hsm.As[hsm.Sealer](h)
	require.NoError(t, err)
	buffer := make([]byte, 0, 512)
	sealed, err := sealer.Seal(t.Context(), buffer, []byte("text"), nil)
	require.NoError(t, err)
	require.Same(t, &buffer[:1][0], &sealed[0], "no allocation where there is room")
	require.Len(t, sealed, 32+12+len("text")+16)
}
