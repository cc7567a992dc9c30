package soft_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/soft"
)

// The hot path's share of the cryptography: one data key of 32 bytes sealed, or opened.
func BenchmarkHandle(b *testing.B) {
	handle := benchHandle(b)
	plaintext, aad := make([]byte, 32), make([]byte, 96)
	body, err := handle.Seal(b.Context(), nil, plaintext, aad)
	require.NoError(b, err)
	buffer := make([]byte, 0, 256)
	b.Run("Seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := handle.Seal(b.Context(), buffer, plaintext, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := handle.Open(b.Context(), buffer, body, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchHandle(b *testing.B) hsm.Sealer {
	b.Helper()
	activation, verifier, err := soft.NewActivation()
	require.NoError(b, err)
	keystore, err := soft.New(soft.Config{ID: "bench", Verifier: verifier})
	require.NoError(b, err)
	require.NoError(b, keystore.Activate(b.Context(), activation))
	material, err := keystore.Create(b.Context(), "bench-key", 1, hsm.AES256, "effect")
	require.NoError(b, err)
	handle, err := keystore.Open(b.Context(), material)
	require.NoError(b, err)
	sealer, err := hsm.As[hsm.Sealer](handle)
	require.NoError(b, err)
	return sealer
}
