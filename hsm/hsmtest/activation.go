package hsmtest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/secret"
)

func testFacts(t *testing.T, f Fixture) {
	facts := f.Keystore.Facts()
	require.NotEmpty(t, facts.Driver)
	require.NotEmpty(t, facts.Module)
	require.NotEmpty(t, facts.RNG)
	require.Contains(t, []hsm.CustodyModel{hsm.CustodySelf, hsm.CustodyCloudNative, hsm.CustodyBYOK, hsm.CustodyHYOK}, facts.Custody)
	require.Contains(t, []string{"", "140-2", "140-3"}, facts.FIPSStandard)
	if facts.FIPSStandard == "" {
		require.Zero(t, facts.FIPSLevel, "a level without a standard is no claim")
		require.Empty(t, facts.Certificate, "a certificate without a standard is no claim")
	} else {
		require.True(t, facts.FIPSLevel >= 1 && facts.FIPSLevel <= 4)
		require.NotEmpty(t, facts.Certificate, "a claim needs its certificate")
	}

	can := f.Keystore.Capabilities()
	require.NotEmpty(t, can.Algorithms)
	for _, a := range can.Algorithms {
		require.True(t, a.Known(), "%v", a)
	}
	require.NotEmpty(t, can.Makes())
	for _, s := range can.Makes() {
		require.True(t, s.Known(), "%v", s)
		require.GreaterOrEqual(t, can.KeyStrength, s.StrengthBits(), "what protects a key is as strong as the key (SP 800-57 Part 1 Rev 5, section 6.2.1.3)")
	}
	require.Positive(t, can.MaxMessage)
	require.GreaterOrEqual(t, can.KeyStrength, 128, "SP 800-57 Part 1 Rev 5 table 4: strength for 2031 and beyond")
	activate(t, f)
	require.Equal(t, facts, f.Keystore.Facts(), "facts do not depend on activation")
	require.Equal(t, can, f.Keystore.Capabilities(), "capabilities do not depend on activation")
}

func testInactive(t *testing.T, f Fixture) {
	require.False(t, f.Keystore.Active())
	_, err := f.Keystore.Create(t.Context(), keyID, 1, hsm.AES256, effectID)
	require.ErrorIs(t, err, hsm.ErrInactive)
	_, err = f.Keystore.Open(t.Context(), hsm.Material{Key: keyID, Version: 1, Blob: []byte("blob"), EffectID: effectID})
	require.ErrorIs(t, err, hsm.ErrInactive)
	require.NoError(t, f.Keystore.Deactivate(t.Context()), "deactivating an inactive keystore is no error")
}

func testActivation(t *testing.T, f Fixture) {
	activate(t, f)
	require.True(t, f.Keystore.Active())
	m := create(t, f.Keystore, keyID, 1, effectID)
	h := open(t, f.Keystore, m)
	body := seal(t, h, []byte("text"), nil)

	activate(t, f) // a second time: nothing changes, handles live on
	require.True(t, f.Keystore.Active())
	text, err := h.Open(t.Context(), nil, body, nil)
	require.NoError(t, err)
	require.Equal(t, []byte("text"), text)

	require.NoError(t, f.Keystore.Deactivate(t.Context()))
	require.False(t, f.Keystore.Active())
	activate(t, f)
	text, err = open(t, f.Keystore, m).Open(t.Context(), nil, body, nil)
	require.NoError(t, err, "what was sealed before is opened after")
	require.Equal(t, []byte("text"), text)
}

func testWrongActivation(t *testing.T, f Fixture) {
	wiped := f.Activation.Clone()
	wiped.Wipe()
	wrong := map[string]*secret.Bytes{
		"well formed":         f.WrongActivation,
		"of another keystore": f.OtherActivation,
		"empty":               secret.New(nil),
		"nil":                 nil,
		"wiped":               wiped,
		"cut off":             altered(t, f.Activation, func(b []byte) []byte { return b[:len(b)-1] }),
		"lengthened":          altered(t, f.Activation, func(b []byte) []byte { return append(b, 0) }),
		"one bit off":         altered(t, f.Activation, func(b []byte) []byte { b[0] ^= 1; return b }),
	}
	for name, activation := range wrong {
		require.ErrorIs(t, f.Keystore.Activate(t.Context(), activation), hsm.ErrActivationSecret, name)
		require.False(t, f.Keystore.Active(), name)
	}

	_, h := ready(t, f)
	body := seal(t, h, []byte("text"), nil)
	for name, activation := range wrong {
		require.ErrorIs(t, f.Keystore.Activate(t.Context(), activation), hsm.ErrActivationSecret, name)
		require.True(t, f.Keystore.Active(), name)
	}
	_, err := h.Open(t.Context(), nil, body, nil)
	require.NoError(t, err, "an active keystore goes on after a wrong secret")
}

// altered is a copy of s that change has worked on.
func altered(t *testing.T, s *secret.Bytes, change func([]byte) []byte) *secret.Bytes {
	t.Helper()
	var out *secret.Bytes
	require.NoError(t, s.Use(func(b []byte) error {
		out = secret.New(change(append([]byte(nil), b...)))
		return nil
	}))
	return out
}

func testActivationCopied(t *testing.T, f Fixture) {
	mine := f.Activation.Clone()
	require.NoError(t, f.Keystore.Activate(t.Context(), mine))
	require.True(t, mine.Equal(f.Activation), "activation leaves the caller's secret alone")
	mine.Wipe()
	create(t, f.Keystore, keyID, 1, effectID)
}

func testDeactivation(t *testing.T, f Fixture) {
	m, h := ready(t, f)
	body := seal(t, h, []byte("text"), nil)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, f.Keystore.Deactivate(cancelled), "to restrict needs no time left")
	require.False(t, f.Keystore.Active())
	requireEnded(t, h, body, nil, hsm.ErrInactive)
	_, err := f.Keystore.Open(t.Context(), m)
	require.ErrorIs(t, err, hsm.ErrInactive)

	activate(t, f)
	requireEnded(t, h, body, nil, hsm.ErrInactive) // an old handle stays dead
	h.Close()
	h.Close()
}
