package hsmtest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// testRedaction renders everything the driver gives out and looks for the activation secrets and a
// plaintext in it. Errors are part of it: they go to logs.
func testRedaction(t *testing.T, f Fixture) {
	m, h := ready(t, f)
	plaintext := []byte("a data key of thirty-two bytes..")
	body := seal(t, h, plaintext, nil)
	wrongSecret := f.Keystore.Activate(t.Context(), f.WrongActivation)
	_, corrupt := h.Open(t.Context(), nil, flip(body, 3), nil)
	_, tooLarge := h.Seal(t.Context(), nil, append(plaintext, make([]byte, f.Keystore.Capabilities().MaxMessage)...), nil)

	forms := append(encodings(plaintext), secretForms(t, f.Activation)...)
	forms = append(forms, secretForms(t, f.WrongActivation)...)
	given := []any{f, f.Keystore, m, h, body, f.Keystore.Facts(), wrongSecret, corrupt, tooLarge}
	for _, v := range given {
		requireClean(t, v, forms)
	}
	h.Close()
	requireClean(t, h, forms)
	require.NoError(t, f.Keystore.Deactivate(t.Context()))
	_, inactive := f.Keystore.Open(t.Context(), m)
	require.ErrorIs(t, inactive, hsm.ErrInactive)
	requireClean(t, inactive, forms)
	requireClean(t, f.Keystore, forms)
}

func requireClean(t *testing.T, v any, forms []string) {
	t.Helper()
	shown := []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v), fmt.Sprintf("%x", v)}
	if encoded, err := json.Marshal(v); err == nil {
		shown = append(shown, string(encoded))
	}
	for _, out := range shown {
		for _, form := range forms {
			require.False(t, strings.Contains(out, form), "a secret shows in a rendering of %T", v)
		}
	}
}

func secretForms(t *testing.T, s *secret.Bytes) []string {
	t.Helper()
	var forms []string
	require.NoError(t, s.Use(func(b []byte) error { forms = encodings(b); return nil }))
	return forms
}

// encodings are the ways in which bytes commonly show: raw, hexadecimal, base64, decimal, Go syntax.
func encodings(b []byte) []string {
	return []string{
		string(b),
		hex.EncodeToString(b),
		strings.ToUpper(hex.EncodeToString(b)),
		strings.TrimRight(base64.StdEncoding.EncodeToString(b), "="),
		base64.RawURLEncoding.EncodeToString(b),
		strings.Trim(fmt.Sprint(b), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
	}
}
