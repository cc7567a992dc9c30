package hsmtest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

func testCreate(t *testing.T, f Fixture) {
	activate(t, f)
	m := create(t, f.Keystore, keyID, 7, effectID)
	require.Equal(t, keyID, m.Key)
	require.EqualValues(t, 7, m.Version)
	require.Equal(t, effectID, m.EffectID)
	require.NotEmpty(t, m.Blob)
	require.Regexp(t, `^([0-9A-F]{2}){1,5}$`, m.CheckValue, "ANSI X9.24-1: at most five bytes")

	other := create(t, f.Keystore, keyID, 8, "suite-effect-2")
	require.NotEqual(t, m.Blob, other.Blob)
	require.NotEqual(t, m.CheckValue, other.CheckValue)

	stored, err := json.Marshal(m)
	require.NoError(t, err)
	var loaded hsm.Material
	require.NoError(t, json.Unmarshal(stored, &loaded))
	require.Contains(t, f.Keystore.Capabilities().Algorithms, open(t, f.Keystore, loaded).Algorithm())
	require.Equal(t, hsm.AES256, loaded.Specification())
}

func testBadArguments(t *testing.T, f Fixture) {
	activate(t, f)
	long := strings.Repeat("k", 256)
	_, err := f.Keystore.Create(t.Context(), keyID, 1, "rot-13", effectID)
	require.ErrorIs(t, err, hsm.ErrUnsupported)
	for field, attempt := range map[string]func() error{
		"key id, empty":      func() error { _, err := f.Keystore.Create(t.Context(), "", 1, hsm.AES256, effectID); return err },
		"key id, too long":   func() error { _, err := f.Keystore.Create(t.Context(), long, 1, hsm.AES256, effectID); return err },
		"key version, zero":  func() error { _, err := f.Keystore.Create(t.Context(), keyID, 0, hsm.AES256, effectID); return err },
		"effect id, empty":   func() error { _, err := f.Keystore.Create(t.Context(), keyID, 1, hsm.AES256, ""); return err },
		"effect id, too big": func() error { _, err := f.Keystore.Create(t.Context(), keyID, 1, hsm.AES256, long); return err },
	} {
		err := attempt()
		require.ErrorIs(t, err, hsm.ErrInvalid, field)
		name, _, _ := strings.Cut(field, ",")
		require.ErrorContains(t, err, name)
	}
}

func testEffects(t *testing.T, f Fixture) {
	activate(t, f)
	_, err := f.Keystore.Find(t.Context(), effectID)
	require.ErrorIs(t, err, hsm.ErrNotFound, "an effect that was never attempted")

	m := create(t, f.Keystore, keyID, 1, effectID)
	body := seal(t, open(t, f.Keystore, m), []byte("text"), nil)
	found, err := f.Keystore.Find(t.Context(), effectID)
	if !f.Keystore.Capabilities().StoresKeys {
		require.ErrorIs(t, err, hsm.ErrNotFound, "nothing is stored here")
		return
	}
	require.NoError(t, err)
	again := create(t, f.Keystore, keyID, 1, effectID)
	for _, same := range []hsm.Material{found, again} {
		require.Equal(t, m.CheckValue, same.CheckValue, "one effect, one key")
		_, err := open(t, f.Keystore, same).Open(t.Context(), nil, body, nil)
		require.NoError(t, err)
	}
}

// refuseMaterial checks that m does not open. A keystore that stores keys may also not find it.
func refuseMaterial(t *testing.T, k hsm.Keystore, m hsm.Material, why string) {
	t.Helper()
	h, err := k.Open(t.Context(), m)
	require.Error(t, err, why)
	require.Nil(t, h, why)
	if !k.Capabilities().StoresKeys {
		require.ErrorIs(t, err, hsm.ErrCorrupt, why)
	}
}

func testMaterialBinding(t *testing.T, f Fixture) {
	activate(t, f)
	m := create(t, f.Keystore, keyID, 1, effectID)
	other := create(t, f.Keystore, "another-key", 1, "suite-effect-2")
	for why, change := range map[string]func(m *hsm.Material){
		"key":             func(m *hsm.Material) { m.Key = "another-key" },
		"key, empty":      func(m *hsm.Material) { m.Key = "" },
		"key, too long":   func(m *hsm.Material) { m.Key = strings.Repeat(m.Key, 100) },
		"version":         func(m *hsm.Material) { m.Version = 2 },
		"shifted by one":  func(m *hsm.Material) { m.Key, m.Version = m.Key[:len(m.Key)-1], m.Version<<8 },
		"blob of another": func(m *hsm.Material) { m.Blob = other.Blob },
		"check value":     func(m *hsm.Material) { m.CheckValue = other.CheckValue },
		"no check value":  func(m *hsm.Material) { m.CheckValue = "" },
		"specification":   func(m *hsm.Material) { m.Spec = hsm.HMACSHA256 },
		"unknown spec":    func(m *hsm.Material) { m.Spec = "rot-13" },
	} {
		swapped := m
		change(&swapped)
		refuseMaterial(t, f.Keystore, swapped, why)
	}
	open(t, f.Keystore, m)
}

func testMaterialAltered(t *testing.T, f Fixture) {
	activate(t, f)
	m := create(t, f.Keystore, keyID, 1, effectID)
	for bit := range 8 * len(m.Blob) {
		flipped := m
		flipped.Blob = flip(m.Blob, bit)
		refuseMaterial(t, f.Keystore, flipped, "altered bit")
	}
	for length := range len(m.Blob) {
		cut := m
		cut.Blob = m.Blob[:length]
		refuseMaterial(t, f.Keystore, cut, "cut off")
	}
	longer := m
	longer.Blob = append(append([]byte(nil), m.Blob...), 0)
	refuseMaterial(t, f.Keystore, longer, "lengthened")
	open(t, f.Keystore, m)
}

func testForeignMaterial(t *testing.T, f Fixture) {
	activate(t, f)
	require.NoError(t, f.Other.Activate(t.Context(), f.OtherActivation))
	m := create(t, f.Keystore, keyID, 1, effectID)
	for _, c := range []struct {
		keystore hsm.Keystore
		material hsm.Material
	}{{f.Other, m}, {f.Keystore, create(t, f.Other, keyID, 1, effectID)}} {
		h, err := c.keystore.Open(t.Context(), c.material)
		require.Error(t, err)
		require.Nil(t, h)
		if _, rekeys := c.keystore.(hsm.Rekeyer); rekeys { // it might be one's own, under a secret that was not given
			continue
		}
		refuseMaterial(t, c.keystore, c.material, "another keystore's key")
	}
}

func testDestroy(t *testing.T, f Fixture) {
	m, h := ready(t, f)
	survivor := create(t, f.Keystore, keyID, 2, "suite-effect-2")
	kept := open(t, f.Keystore, survivor)
	body := seal(t, h, []byte("text"), nil)

	require.NoError(t, f.Keystore.Destroy(t.Context(), m))
	requireEnded(t, h, body, nil, hsm.ErrClosed)
	require.NoError(t, f.Keystore.Destroy(t.Context(), m), "idempotent")
	seal(t, kept, []byte("text"), nil) // the other version lives

	can := f.Keystore.Capabilities()
	if can.Destroy {
		_, err := f.Keystore.Open(t.Context(), m)
		require.ErrorIs(t, err, hsm.ErrNotFound)
	}
	if can.StoresKeys {
		_, err := f.Keystore.Find(t.Context(), m.EffectID)
		require.ErrorIs(t, err, hsm.ErrNotFound)
	}
}

func testClose(t *testing.T, f Fixture) {
	m, h := ready(t, f)
	second := open(t, f.Keystore, m)
	body := seal(t, h, []byte("text"), nil)
	h.Close()
	h.Close()
	requireEnded(t, h, body, nil, hsm.ErrClosed)
	_, err := second.Open(t.Context(), nil, body, nil)
	require.NoError(t, err, "handles of one key are independent")
}

// flip is a copy of b with one bit changed.
func flip(b []byte, bit int) []byte {
	out := append([]byte(nil), b...)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}
