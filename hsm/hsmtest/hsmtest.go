// Package hsmtest is the conformance suite of the keystore contract: every driver passes [Run].
// What a driver may do differently follows from its capabilities, never from its name.
package hsmtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// Fixture is one fresh keystore and what the suite needs around it.
type Fixture struct {
	Keystore        hsm.Keystore  // inactive, without keys
	Activation      *secret.Bytes // opens Keystore
	WrongActivation *secret.Bytes // well formed, opens neither
	Other           hsm.Keystore  // a second keystore of the same driver, inactive
	OtherActivation *secret.Bytes // opens Other
}

const (
	keyID    = "suite-key"
	effectID = "suite-effect-1"
)

// Run holds the driver to the contract. newFixture is called once for each subtest and cleans up after
// itself with t.Cleanup.
func Run(t *testing.T, newFixture func(t *testing.T) Fixture) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, f Fixture)
	}{
		{"facts and capabilities", testFacts},
		{"inactive keystore refuses", testInactive},
		{"activation", testActivation},
		{"wrong activation secret changes nothing", testWrongActivation},
		{"caller keeps the activation secret", testActivationCopied},
		{"deactivation invalidates handles", testDeactivation},
		{"create and open", testCreate},
		{"bad arguments", testBadArguments},
		{"effects", testEffects},
		{"material is bound to key and version", testMaterialBinding},
		{"altered material is refused", testMaterialAltered},
		{"material of another keystore is refused", testForeignMaterial},
		{"destroy", testDestroy},
		{"close", testClose},
		{"round trip", testRoundTrip},
		{"message size", testMessageSize},
		{"sealing is randomised", testRandomised},
		{"every altered bit is refused", testAlteredBody},
		{"context is bound", testWrongAAD},
		{"another key or version is refused", testWrongKey},
		{"cancelled context", testCancelled},
		{"every specification", testSpecs},
		{"concurrent use", testConcurrentUse},
		{"concurrent deactivation", testConcurrentDeactivation},
		{"no secret in any rendering", testRedaction},
		{"activation secret is replaced", rekeying(testRekey)},
		{"staging", rekeying(testStage)},
		{"following a record", rekeying(testFollow)},
		{"replacement under load", rekeying(testConcurrentRekey)},
		{"transfer in a group", sharing(testTransfer, testTransferRefused)},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newFixture(t)) })
	}
	RunImports(t, newFixture)
}

// RunImports is the part of Run about keys made elsewhere, for drivers that take some from some devices only.
func RunImports(t *testing.T, newFixture func(t *testing.T) Fixture) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, f Fixture)
	}{
		{"wrapped import", importing(hsm.ImportWrapped, testWrapping)},
		{"import of components", importing(hsm.ImportComponents, testImportComponents)},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newFixture(t)) })
	}
}

// activate makes the fixture's keystore ready.
func activate(t *testing.T, f Fixture) {
	t.Helper()
	require.NoError(t, f.Keystore.Activate(t.Context(), f.Activation))
}

// create makes one sealing key, with an effect id of its own.
func create(t *testing.T, k hsm.Keystore, key string, version uint32, effect string) hsm.Material {
	t.Helper()
	m, err := k.Create(t.Context(), key, version, hsm.AES256, effect)
	require.NoError(t, err)
	return m
}

// open prepares a key for use until the test ends.
func open(t *testing.T, k hsm.Keystore, m hsm.Material) hsm.Sealer {
	t.Helper()
	return openAs[hsm.Sealer](t, k, m)
}

// openAs prepares a key for its one use until the test ends.
func openAs[H hsm.Handle](t *testing.T, k hsm.Keystore, m hsm.Material) H {
	t.Helper()
	h, err := k.Open(t.Context(), m)
	require.NoError(t, err)
	t.Cleanup(h.Close)
	use, err := hsm.As[H](h)
	require.NoError(t, err)
	return use
}

// ready is an active keystore's only key, open.
func ready(t *testing.T, f Fixture) (hsm.Material, hsm.Sealer) {
	t.Helper()
	activate(t, f)
	m := create(t, f.Keystore, keyID, 1, effectID)
	return m, open(t, f.Keystore, m)
}

func seal(t *testing.T, h hsm.Sealer, plaintext, aad []byte) []byte {
	t.Helper()
	body, err := h.Seal(t.Context(), nil, plaintext, aad)
	require.NoError(t, err)
	return body
}

// requireEnded checks that a handle serves no more, in either direction, and gives the reason.
func requireEnded(t *testing.T, h hsm.Sealer, body, aad []byte, reason error) {
	t.Helper()
	_, err := h.Seal(t.Context(), nil, []byte("text"), aad)
	require.ErrorIs(t, err, reason)
	out, err := h.Open(t.Context(), nil, body, aad)
	require.ErrorIs(t, err, reason)
	require.Empty(t, out)
}
