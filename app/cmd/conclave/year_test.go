package main_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A year in the life of three teams, by the real binary: people come and go, shares are lost and issued anew, quorums
// change, keys are compromised at night and rotated by the list; at its end the ledger verifies and every operation
// has a quorum.
func TestAYearOfCustody(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "year")
	out, err := exec.CommandContext(t.Context(), shared.binary, "demo", "year", "--data-dir", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	for _, told := range []string{"Otto leaves", "nobody proposes it", "restored the policy before it", "Pia is invited", "laptop is stolen", "four of seven", "39 keys", "Holds again: person demo-nora: left", "verified against the trust file"} {
		require.Contains(t, string(out), told)
	}
	out, err = exec.CommandContext(t.Context(), shared.binary, "demo", "year", "--data-dir", dir).CombinedOutput()
	require.Error(t, err, "never over another")
	require.Contains(t, string(out), "exists")
}
