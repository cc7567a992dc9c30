package hsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

// Numbers and names are part of stored ciphertexts and reports: they never change.
func TestAlgorithmNumbersAreFixed(t *testing.T) {
	require.EqualValues(t, 1, hsm.AlgorithmDerivedAES256GCM)
	require.EqualValues(t, 2, hsm.AlgorithmWrappedAES256GCM)
	require.Equal(t, "HKDF-SHA-256+AES-256-GCM", hsm.AlgorithmDerivedAES256GCM.String())
	require.Equal(t, "AES-256-KW+AES-256-GCM", hsm.AlgorithmWrappedAES256GCM.String())
	for number := range 256 {
		a := hsm.Algorithm(number)
		require.Equal(t, a == hsm.AlgorithmDerivedAES256GCM || a == hsm.AlgorithmWrappedAES256GCM, a.Known())
		require.NotEmpty(t, a.String())
	}
}
