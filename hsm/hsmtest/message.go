package hsmtest

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

func testRoundTrip(t *testing.T, f Fixture) {
	_, h := ready(t, f)
	for _, size := range []int{0, 1, 15, 16, 17, 32, 1000, f.Keystore.Capabilities().MaxMessage} {
		plaintext := make([]byte, size)
		_, _ = rand.Read(plaintext)
		for _, aad := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte("aad"), 100)} {
			original := bytes.Clone(plaintext)
			sealed, err := h.Seal(t.Context(), []byte("before"), plaintext, aad)
			require.NoError(t, err)
			require.True(t, bytes.Equal(original, plaintext), "the plaintext is only read")
			require.True(t, bytes.HasPrefix(sealed, []byte("before")), "appends")
			body := sealed[len("before"):]
			require.Greater(t, len(body), size)

			got, err := h.Open(t.Context(), []byte("text: "), body, aad)
			require.NoError(t, err)
			require.True(t, bytes.Equal(append([]byte("text: "), plaintext...), got), "appends what was sealed")
		}
	}
}

func testMessageSize(t *testing.T, f Fixture) {
	_, h := ready(t, f)
	tooLong := make([]byte, f.Keystore.Capabilities().MaxMessage+1)
	out, err := h.Seal(t.Context(), nil, tooLong, nil)
	require.ErrorIs(t, err, hsm.ErrTooLarge)
	require.Nil(t, out)

	body := seal(t, h, nil, nil)
	for length := range len(body) {
		requireCorrupt(t, h, body[:length], nil)
	}
	requireCorrupt(t, h, append(bytes.Clone(body), 0), nil)
	requireCorrupt(t, h, make([]byte, 1<<20), nil)
}

func requireCorrupt(t *testing.T, h hsm.Sealer, body, aad []byte) {
	t.Helper()
	out, err := h.Open(t.Context(), nil, body, aad)
	require.ErrorIs(t, err, hsm.ErrCorrupt)
	require.Empty(t, out)
}

func testRandomised(t *testing.T, f Fixture) {
	_, h := ready(t, f)
	seen := make(map[string]bool)
	for range 100 {
		body := string(seal(t, h, []byte("the same text"), nil))
		require.False(t, seen[body])
		seen[body] = true
	}
}

func testAlteredBody(t *testing.T, f Fixture) {
	_, h := ready(t, f)
	aad := []byte("header and context")
	body := seal(t, h, []byte("a data key of thirty-two bytes.."), aad)
	for bit := range 8 * len(body) {
		requireCorrupt(t, h, flip(body, bit), aad)
	}
	for bit := range 8 * len(aad) {
		requireCorrupt(t, h, body, flip(aad, bit))
	}
	_, err := h.Open(t.Context(), nil, body, aad)
	require.NoError(t, err)
}

func testWrongAAD(t *testing.T, f Fixture) {
	_, h := ready(t, f)
	aad := []byte("context")
	body := seal(t, h, []byte("text"), aad)
	requireCorrupt(t, h, body, nil)
	requireCorrupt(t, h, body, aad[:len(aad)-1])
	requireCorrupt(t, h, body, append(bytes.Clone(aad), 0))
	requireCorrupt(t, h, seal(t, h, []byte("text"), nil), aad)
}

func testWrongKey(t *testing.T, f Fixture) {
	_, h := ready(t, f)
	body := seal(t, h, []byte("text"), nil)
	requireCorrupt(t, open(t, f.Keystore, create(t, f.Keystore, keyID, 2, "suite-effect-2")), body, nil)
	requireCorrupt(t, open(t, f.Keystore, create(t, f.Keystore, "another-key", 1, "suite-effect-3")), body, nil)
}
