package hsmtest

import (
	"context"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keypair"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

// importing runs a test of the optional capability hsm.Importer. A driver without it has nothing to be held to.
func importing(form hsm.ImportForm, test func(t *testing.T, f Fixture, k hsm.Importer, can hsm.ImportCapability)) func(t *testing.T, f Fixture) {
	return func(t *testing.T, f Fixture) {
		k, ok := f.Keystore.(hsm.Importer)
		can, stated := f.Keystore.Capabilities().ImportsBy(form)
		if stated {
			require.True(t, ok, "what takes keys is an hsm.Importer")
			test(t, f, k, can)
		}
	}
}

// madeElsewhere is a key of a specification as its maker has it.
func madeElsewhere(t *testing.T, spec hsm.Spec) *secret.Bytes {
	t.Helper()
	var made *secret.Bytes
	if n := keywrap.KeyBytes(spec); n > 0 {
		made = secret.Random(n)
	} else {
		var err error
		made, _, err = keypair.Generate(spec)
		require.NoError(t, err)
	}
	t.Cleanup(made.Wipe)
	return made
}

func wrappingPair(t *testing.T, k hsm.Importer, id string, spec hsm.Spec) hsm.Material {
	t.Helper()
	pair, err := k.CreateWrapping(t.Context(), id, spec, "suite-wrapping-"+id)
	require.NoError(t, err)
	return pair
}

func wrapFor(t *testing.T, pair hsm.Material, key *secret.Bytes) []byte {
	t.Helper()
	wrapped, err := keywrap.Wrap(pair.Specification(), pair.Public, key)
	require.NoError(t, err)
	return wrapped
}

// testWrapping has one wrapping pair, slow to make, take keys and refuse others.
func testWrapping(t *testing.T, f Fixture, k hsm.Importer, can hsm.ImportCapability) {
	_, err := k.CreateWrapping(t.Context(), "pair", can.WrappingSpecs[0], effectID)
	require.ErrorIs(t, err, hsm.ErrInactive)
	activate(t, f)
	pair := wrappingPair(t, k, "pair", can.WrappingSpecs[len(can.WrappingSpecs)-1])
	require.Equal(t, hsm.WrappingName("pair"), pair.Key)
	_, err = keypair.ParsePublic(pair.Specification(), pair.Public)
	require.NoError(t, err)
	testImportWrapped(t, k, can, pair)
	testImportWrappedRefused(t, k, can, pair)
}

// testImportWrapped: a key that was made elsewhere is the same key here.
func testImportWrapped(t *testing.T, k hsm.Importer, can hsm.ImportCapability, pair hsm.Material) {
	rsa := map[int]*secret.Bytes{} // one of a size does for every scheme
	for i, spec := range can.Specs {
		made := rsa[spec.ModulusBits()]
		if made == nil {
			made = madeElsewhere(t, spec)
		}
		if spec.ModulusBits() > 0 {
			rsa[spec.ModulusBits()] = made
		}
		want, err := checkvalue.Of(spec, made)
		require.NoError(t, err)
		wrapped := wrapFor(t, pair, made)
		examined, public, err := k.Examine(t.Context(), pair, spec, wrapped)
		require.NoError(t, err, spec)
		require.Equal(t, want, examined, spec)
		m, err := k.ImportWrapped(t.Context(), keyID, uint32(i+1), spec, "suite-import-"+string(spec), pair, wrapped)
		require.NoError(t, err, spec)
		require.Equal(t, want, m.CheckValue, spec)
		require.Equal(t, public, m.Public)
		require.Equal(t, spec.Pair(), len(m.Public) > 0)
		h, err := k.Open(t.Context(), m)
		require.NoError(t, err, spec)
		require.Equal(t, spec, h.Spec())
		h.Close()
		if k.Capabilities().StoresKeys {
			found, err := k.Find(t.Context(), m.EffectID)
			require.NoError(t, err)
			require.Equal(t, m.CheckValue, found.CheckValue)
		}
	}
}

// testImportWrappedRefused: nothing is half-imported. The pair is gone after it.
func testImportWrappedRefused(t *testing.T, k hsm.Importer, can hsm.ImportCapability, pair hsm.Material) {
	const key = "suite-refused"
	spec := pair.Specification()
	other := wrappingPair(t, k, "other", spec)
	made := madeElsewhere(t, hsm.AES256)
	wrapped := wrapFor(t, pair, made)
	refused := func(name string, want error, pair hsm.Material, spec hsm.Spec, wrapped []byte) {
		t.Helper()
		_, _, err := k.Examine(t.Context(), pair, spec, wrapped)
		require.ErrorIs(t, err, want, name)
		m, err := k.ImportWrapped(t.Context(), key, 1, spec, effectID, pair, wrapped)
		require.ErrorIs(t, err, want, name)
		require.Empty(t, m)
		_, err = k.Find(t.Context(), effectID)
		require.ErrorIs(t, err, hsm.ErrNotFound, name)
	}
	refused("for another pair", hsm.ErrUnwrap, other, hsm.AES256, wrapped)
	refused("cut off", hsm.ErrUnwrap, pair, hsm.AES256, wrapped[:len(wrapped)-8])
	refused("cut off within a block", hsm.ErrUnwrap, pair, hsm.AES256, wrapped[:len(wrapped)-1])
	refused("empty", hsm.ErrUnwrap, pair, hsm.AES256, nil)
	refused("too long", hsm.ErrUnwrap, pair, hsm.AES256, make([]byte, 16<<10))
	for _, bit := range []int{0, 8*len(wrapped)/2 + 3, 8*len(wrapped) - 1, 8*(spec.ModulusBits()/8) + 1} {
		refused("altered", hsm.ErrUnwrap, pair, hsm.AES256, flip(wrapped, bit))
	}
	refused("key too long", hsm.ErrKeyForm, pair, hsm.AES256, wrapFor(t, pair, secret.Random(33)))
	refused("key too short", hsm.ErrKeyForm, pair, hsm.AES256, wrapFor(t, pair, secret.Random(16)))
	refused("key of zeros", hsm.ErrKeyForm, pair, hsm.AES256, wrapFor(t, pair, secret.New(make([]byte, 32))))
	if slices.Contains(can.Specs, hsm.ECDSAP256) {
		refused("no pair", hsm.ErrKeyForm, pair, hsm.ECDSAP256, wrapped)
		refused("of another curve", hsm.ErrKeyForm, pair, hsm.ECDSAP256, wrapFor(t, pair, madeElsewhere(t, hsm.ECDSAP384)))
	}
	refused("unknown specification", hsm.ErrUnsupported, pair, "rot-13", wrapped)

	_, err := k.Open(t.Context(), pair)
	require.ErrorIs(t, err, hsm.ErrUnsupported, "a wrapping pair does nothing else")
	_, err = k.Create(t.Context(), pair.Key, 1, hsm.AES256, effectID)
	require.ErrorIs(t, err, hsm.ErrInvalid, "no key has the name of a wrapping pair")
	_, err = k.CreateWrapping(t.Context(), "pair", hsm.ECDSAP256, effectID)
	require.ErrorIs(t, err, hsm.ErrUnsupported)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = k.ImportWrapped(cancelled, key, 1, hsm.AES256, effectID, pair, wrapped)
	require.ErrorIs(t, err, context.Canceled)
	swapped := create(t, k, key, 9, "suite-effect-9")
	swapped.Key, swapped.Spec = pair.Key, pair.Spec
	_, _, err = k.Examine(t.Context(), swapped, hsm.AES256, wrapped)
	require.Error(t, err, "what was made as a key is no wrapping pair")

	require.NoError(t, k.Destroy(t.Context(), pair))
	require.NoError(t, k.Destroy(t.Context(), pair), "idempotent")
	if k.Capabilities().Destroy {
		refused("pair destroyed", hsm.ErrNotFound, pair, hsm.AES256, wrapped)
	}
}

// components splits a key into n.
func components(t *testing.T, whole *secret.Bytes, n int) []*secret.Bytes {
	t.Helper()
	rest := whole.Clone()
	out := make([]*secret.Bytes, n)
	for i := range n - 1 {
		out[i] = secret.Random(whole.Len())
		require.NoError(t, rest.Use(func(r []byte) error {
			return out[i].Use(func(b []byte) error { subtle.XORBytes(r, r, b); return nil })
		}))
	}
	out[n-1] = rest
	t.Cleanup(func() {
		for _, c := range out {
			c.Wipe()
		}
	})
	return out
}

// testImportComponents: the XOR of the components is the key, and each refusal names the component.
func testImportComponents(t *testing.T, f Fixture, k hsm.Importer, can hsm.ImportCapability) {
	spec := can.Specs[0]
	whole := madeElsewhere(t, spec)
	parts := components(t, whole, 3)
	_, err := k.ImportComponents(t.Context(), keyID, 1, spec, effectID, parts)
	require.ErrorIs(t, err, hsm.ErrInactive)
	activate(t, f)
	want, err := checkvalue.Of(spec, whole)
	require.NoError(t, err)
	for i, order := range [][]*secret.Bytes{parts, {parts[2], parts[0], parts[1]}} {
		m, err := k.ImportComponents(t.Context(), keyID, uint32(i+1), spec, fmt.Sprintf("suite-import-%d", i), order)
		require.NoError(t, err)
		require.Equal(t, want, m.CheckValue)
		h, err := k.Open(t.Context(), m)
		require.NoError(t, err)
		h.Close()
	}
	require.True(t, parts[0].Equal(parts[0]), "components stay the caller's")
	zeros, short := secret.New(make([]byte, whole.Len())), secret.Random(whole.Len()-1)
	twice := whole.Clone()
	for _, c := range []struct {
		name, names string
		want        error
		give        []*secret.Bytes
	}{
		{"all zeros", "component 2", hsm.ErrComponent, []*secret.Bytes{parts[0], zeros}},
		{"too short", "component 1", hsm.ErrComponent, []*secret.Bytes{short, parts[0]}},
		{"repeated", "component 3 is the same as component 1", hsm.ErrComponent, []*secret.Bytes{whole, parts[0], twice}},
		{"a key of zeros", "", hsm.ErrKeyForm, append([]*secret.Bytes{whole}, parts...)},
		{"one", "components", hsm.ErrInvalid, parts[:1]},
		{"too many", "components", hsm.ErrInvalid, slices.Repeat(parts, 4)},
		{"none", "components", hsm.ErrInvalid, nil},
	} {
		m, err := k.ImportComponents(t.Context(), keyID, 9, spec, effectID, c.give)
		require.ErrorIs(t, err, c.want, c.name)
		require.ErrorContains(t, err, c.names)
		require.Empty(t, m)
		_, err = k.Find(t.Context(), effectID)
		require.ErrorIs(t, err, hsm.ErrNotFound, c.name)
	}
	for _, other := range hsm.Specs() {
		if !slices.Contains(can.Specs, other) {
			_, err := k.ImportComponents(t.Context(), keyID, 9, other, effectID, parts)
			require.ErrorIs(t, err, hsm.ErrUnsupported, other)
		}
	}
	gone := parts[0].Clone()
	gone.Wipe()
	_, err = k.ImportComponents(t.Context(), keyID, 9, spec, effectID, []*secret.Bytes{parts[1], gone})
	require.ErrorIs(t, err, secret.ErrWiped)
	for _, bad := range []struct{ key, effect string }{{"", effectID}, {strings.Repeat("k", 256), effectID}, {hsm.WrappingName("x"), effectID}, {keyID, ""}} {
		_, err = k.ImportComponents(t.Context(), bad.key, 9, spec, bad.effect, parts)
		require.ErrorIs(t, err, hsm.ErrInvalid)
	}
	var shown []string
	for _, p := range append(parts, whole) {
		shown = append(shown, secretForms(t, p)...)
	}
	requireClean(t, err, shown)
	requireClean(t, f.Keystore, shown)
}
